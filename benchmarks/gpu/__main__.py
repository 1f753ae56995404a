"""Run all parts, each in a process of its own with a time limit, most important first."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.parts import Options
from benchmarks.report import RESULTS, Report

LIMIT = 530  # seconds for all
PARTS = {  # the function that measures, and seconds at most
    "peak": ("peak:measure", 60),
    "upscaling": ("upscaling:measure", 150),
    "interpolation": ("interpolation:measure", 100),
    "wan-1.3b": ("wan:measure_small_model", 150),
    "wan-14b": ("wan:measure_large_model", 200),
    "wan-5b": ("wan:measure_5b", 150),
    "wan-a14b": ("wan:measure_a14b", 250),
}
COLUMNS = ("what", "result", "compared")
NOTE = "Model weights as published unless told; Wan's are random, which changes neither time nor memory."


def main() -> None:
    """Run what was asked for and write the report after every part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Measure the networks on a GPU.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--weights", type=Path, help="a folder with NAME.safetensors; else the model store")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the report")
    parser.add_argument("--small", action="store_true", help="tiny sizes, on any device: to try the benchmark itself")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # one part, in this process
    parser.add_argument("--peak", type=float, default=0.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        _run_part(given.only, given)
        return
    _run_all(given)


def _run_part(name: str, given: argparse.Namespace) -> None:
    """Print one line of JSON for every row, as it comes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module, function = PARTS[name][0].split(":")
    measure = getattr(import_module(f"benchmarks.gpu.{module}"), function)
    for row in measure(Options(device, given.weights, given.small, given.peak)):
        print(json.dumps([row.what, row.result, row.share, row.figures or {}]), flush=True)


def _run_all(given: argparse.Namespace) -> None:
    """Parts that are not asked for keep what an earlier run measured on the same card."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    name = "-".join(["gpu", *re.findall(r"[a-z0-9]+", card.lower())])
    figures: dict[str, Any] = {"rows": {}}
    with suppress(FileNotFoundError):
        figures = Report.read(given.results / f"{name}.json").figures
    figures |= {"torch": torch.__version__, "card": card}
    begin = time.monotonic()
    for part in given.parts:
        left = LIMIT - (time.monotonic() - begin)
        figures["rows"][part] = []
        for what, result, share, found in _rows_of(part, given, figures.get("peak_float16", 0.0), left):
            figures["rows"][part].append([what, result, share])
            figures |= found
            print(f"{what}: {result} {share}", flush=True)
        report = Report(
            name=name,
            title="Networks on a GPU",
            columns=COLUMNS,
            rows=[row for known in PARTS for row in figures["rows"].get(known, [])],
            figures=figures,
            notes=[NOTE, f"torch {torch.__version__}"],
            device=card,
        )
        report.write(given.results)


def _rows_of(
    name: str, given: argparse.Namespace, peak: float, left: float
) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Run a part within its time; what it had measured until then is kept, and why it ended is one more row."""
    limit = min(PARTS[name][1], left)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu", "--only", name, "--peak", str(peak)]
    command += ["--small"] if given.small else []
    command += ["--weights", str(given.weights)] if given.weights else []
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=max(limit, 1), check=False, env=os.environ
        )
        printed, problem = done.stdout, (done.stderr.strip().splitlines() or [""])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired as late:
        printed = late.stdout.decode() if isinstance(late.stdout, bytes) else (late.stdout or "")
        problem = f"not finished within {limit:.0f} s"
    rows = [tuple(json.loads(line)) for line in printed.splitlines() if line.startswith("[")]
    return [*rows, *([(name, problem[:200], "", {})] if problem else [])]


if __name__ == "__main__":
    main()
