"""Run benchmarks by name (all of them without one) and put their tables together."""

import importlib
import sys
from pathlib import Path

from benchmarks.report import RESULTS, Report, machine

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
MEASURES = "\ndef measure() -> Report:"
PREFACE = """# Benchmarks

Made by `make bench` from `benchmarks/results/*.json`, which hold the machine and the versions of every run. Timings
on a shared machine are noisy: read medians and ratios. Nothing here is asserted by a test.
"""


def main(names: list[str]) -> None:
    """Measure, show, store."""
    for name in names or every_name():
        print(f"measuring {name} …", flush=True)
        report: Report = importlib.import_module(f"benchmarks.{name}").measure()
        report.write()
        print(report.table(), flush=True)
    PAGE.write_text(page(), encoding="utf-8")


def every_name() -> list[str]:
    """Return the benchmarks of this folder: the modules that measure."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if MEASURES in path.read_text(encoding="utf-8"))


def page() -> str:
    """Return all stored reports as one Markdown page."""
    facts = machine()
    here = f"Last run on {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {', '.join(facts['isa'])}."
    tables = [Report.read(path).table() for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([PREFACE, here + "\n", *tables])


if __name__ == "__main__":
    main(sys.argv[1:])
