"""How many processors this process may use."""

import os
from contextlib import suppress
from pathlib import Path

CPU_MAX = Path(
    "/sys/fs/cgroup/cpu.max"
)  # of the container's own group: "QUOTA PERIOD" in microseconds, or "max PERIOD"


def usable_cores(limit: Path = CPU_MAX) -> int:
    """Return the processors of the affinity mask, or fewer where the control group has a quota; at least 1."""
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # no such file outside a container, "max" without a quota
        quota, period = (int(number) for number in limit.read_text(encoding="ascii").split())
        cores = min(cores, quota // period)
    return max(cores, 1)
