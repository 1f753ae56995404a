"""The report of a benchmark: figures with the machine on which they were measured, and a table to read.

A benchmark is a module `benchmarks/NAME.py` with `measure() -> Report`; `benchmarks/run.py` runs them and writes
`benchmarks/results/PROCESSOR/NAME.json`, `benchmarks/page.py` puts the tables together into `docs/benchmarks.md`.
"""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TELLING_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
TELLING_PACKAGES = (
    "torch",
    "av",
    "numpy",
    "opencv-python-headless",
    "bentoml",
    "procrastinate",
    "ncnn",
    "onnxruntime",
    "openvino",
)


@dataclass(frozen=True)
class Report:
    """One benchmark's outcome: `rows` under `columns` to read, `figures` for machines, `notes` on how to read them."""

    name: str  # a file name without suffix
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: dict[str, Any]
    notes: Sequence[str] = field(default_factory=tuple)
    device: str = ""  # what computed, where that is not the processor

    def table(self) -> str:
        """Return table and notes as Markdown."""
        lines = [" | ".join(row) for row in (self.columns, ["---"] * len(self.columns), *self.rows)]
        notes = "".join(f"\n- {note}" for note in self.notes)
        return "\n".join(f"| {line} |" for line in lines) + "\n" + (notes and f"{notes}\n")

    def write(self, folder: Path = RESULTS) -> Path:
        """Write `NAME.json`: everything above plus the machine, the versions and the date."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{self.name}.json"
        content = asdict(self) | {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
        target.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return target

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read back what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{name: content[name] for name in cls.__dataclass_fields__ if name in content})


def machine() -> dict[str, Any]:
    """Describe what the figures depend on: processor, its instruction sets, memory, versions."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    facts = dict(line.split(":", 1) for line in cpuinfo.partition("\n\n")[0].splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = set(facts.get("flags", "").split())
    return {
        "cpu": facts.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "isa": [flag for flag in TELLING_FLAGS if flag in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": dict(installed(TELLING_PACKAGES)),
    }


def installed(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield name and version of those packages that are installed."""
    for package in packages:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile: an observed value, never an interpolated one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(percent * len(ordered)) // 100) - 1))]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median with the least and the largest observation."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
