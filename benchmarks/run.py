"""Run benchmarks by name (all of them without one) and write the page with the tables of every processor."""

import importlib
import sys
from pathlib import Path

from benchmarks.page import PAGE, folder_of, page
from benchmarks.report import Report, machine

FOLDER = Path(__file__).parent
MEASURES = "\ndef measure() -> Report:"


def main(names: list[str]) -> None:
    """Measure, show, store; what is measured is on the page even if a later benchmark fails."""
    for name in names or every_name():
        print(f"measuring {name} …", flush=True)
        report: Report = importlib.import_module(f"benchmarks.{name}").measure()
        report.write(folder_of(machine()))
        print(f"{report.title}\n\n{report.table()}", flush=True)
        PAGE.write_text(page(), encoding="utf-8")


def every_name() -> list[str]:
    """Return the benchmarks of this folder: the modules that measure."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if MEASURES in path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
