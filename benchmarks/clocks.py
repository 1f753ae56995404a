"""What a run has used: wall-clock time, CPU time, memory."""

import time
from pathlib import Path


def clocks() -> tuple[float, float]:
    """Return the wall-clock time and the CPU time of all threads of this process, in seconds."""
    return time.perf_counter(), time.process_time()


def peak_gib() -> float:
    """Return the peak resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return round(int(line.split()[1]) / 2**20, 2)
