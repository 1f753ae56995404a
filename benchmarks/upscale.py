"""Upscaling: animevideov3 against the same weights in ncnn, onnxruntime and OpenVINO, alone and end to end.

All run on the same frames in one process, in turns, so that other load on the machine affects all of them equally.
End to end each engine gets our decoder, our encoder and our frames side by side. A second process may only use AVX2,
as far as the libraries can be told so.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping

from benchmarks.page import INSTRUCTIONS
from benchmarks.report import Report, machine
from shared.process.cores import usable_cores
from shared.process.malloc import KEEP_FREED_MEMORY

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
COLUMNS = ("instructions", "engine", "alone, CPU ms a frame", "end to end, CPU ms a frame", "end to end, ms a frame",
           "our speed-up")  # fmt: skip
NOTES = (
    "Alone: the least of six frames, from uint8 to uint8, on one thread.",
    "End to end: medians of three runs of ten frames, as many side by side as there are cores, with one thread each.",
    "The clip has no duplicate frames; x264 veryfast CRF 18 for all.",
    "The speed-up is the median over rounds of their CPU time end to end by ours in the same round.",
    "Ours also computes a correction of the brightness, 1 % more, which the others' files do not have.",
    "AVX2 is imitated where there is more: torch and OpenVINO keep to it; onnxruntime and ncnn, also ours, do not.",
)

Times = Mapping[str, Mapping[str, list[float]]]


def measure() -> Report:
    """Time every engine with all instructions of this processor, then with those of AVX2."""
    best = next((name for flag, name in INSTRUCTIONS.items() if flag in machine()["isa"]), "none of them")
    runs = ((best, {}), *([("AVX2, imitated", AVX2)] if best != "AVX2" else []))
    return report({instructions: timed(environment) for instructions, environment in runs})


def report(figures: Mapping[str, Times]) -> Report:
    """Return the table of the times with each set of instructions."""
    rows = [row for instructions, times in figures.items() for row in table(instructions, times)]
    notes = [
        *NOTES,
        f"End to end they had {had(figures.values()):.0%} of the cores' time; the rest other programs had.",
    ]
    return Report("upscale", "Upscaling 320x180 to 1280x720 with animevideov3", COLUMNS, rows, dict(figures), notes)


def had(runs: Iterable[Times]) -> float:
    """Return how much of the time of the cores that may be used the engines had end to end."""
    known = [times for run in runs for times in run.values()]
    return sum(sum(times["cpu"]) for times in known) / sum(sum(times["wall"]) for times in known) / usable_cores()


def timed(environment: Mapping[str, str]) -> Times:
    """Return the times of a process with this environment and the memory of a runner."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.upscale_runs"]
    done = subprocess.run(
        command, env={**os.environ, **KEEP_FREED_MEMORY, **environment}, stdout=subprocess.PIPE, check=True, text=True
    )
    times: Times = json.loads(done.stdout.splitlines()[-1])
    return times


def table(instructions: str, times: Times) -> list[list[str]]:
    """Return a row for each engine; the first is ours."""
    ours = next(iter(times.values()))
    rows = []
    for name, their in times.items():
        faster = statistics.median(a / b for a, b in zip(their["cpu"], ours["cpu"], strict=True))
        least, cpu, wall = min(their["alone"]), statistics.median(their["cpu"]), statistics.median(their["wall"])
        rows.append([instructions, name, *(f"{seconds * 1e3:.0f}" for seconds in (least, cpu, wall)), f"{faster:.2f}"])
    return rows
