"""All stored reports as one page: every topic once, below it the tables of every processor and card."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, Report

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PREFACE = """# Benchmarks

Made by `make bench` from `benchmarks/results/`, one folder for each kind of processor and one file for each card, which
hold the machine, the versions and the figures of every run. A run replaces what the same kind of processor has measured
before and leaves the others' tables as they are. Timings on a shared machine are noisy: read medians and ratios.
Nothing here is asserted by a test.
"""
# What decides how fast networks are, the best first: the flag of /proc/cpuinfo and what it is called.
INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX512", "avx2": "AVX2"}


@dataclass(frozen=True)
class Stored:
    """A report with where and when it was measured."""

    path: Path
    report: Report
    machine: Mapping[str, Any]
    measured_at: str  # ISO 8601, UTC

    @classmethod
    def read(cls, path: Path) -> "Stored":
        """Read what `Report.write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(path, Report.read(path), content["machine"], content["measured_at"])

    @property
    def topic(self) -> str:
        """Return what all reports on the same have in common."""
        return "gpu" if self.report.device else self.report.name

    def section(self, page: Path) -> str:
        """Return the table with the name of what computed, as Markdown; its links are relative to `page`."""
        where = f"[{self.path.name}](../{self.path.relative_to(page.parents[1])})"
        name = self.report.device or processor(self.machine)
        return f"### {name}\n\n{self.measured_at[:10]}, {where}\n\n{self.report.table()}"


def processor(machine: Mapping[str, Any]) -> str:
    """Return a kind of processor such as "AMD EPYC, AVX512-BF16, 2 cores": machines alike have the same."""
    known = [name for flag, name in INSTRUCTIONS.items() if flag in machine["isa"]]
    return ", ".join([machine["cpu"], *known[:1], f"{machine['cores']} cores"])


def folder_of(machine: Mapping[str, Any], results: Path = RESULTS) -> Path:
    """Return the folder of a kind of processor's reports."""
    return results / "-".join(re.findall(r"[a-z0-9]+", processor(machine).lower()))


def page(results: Path = RESULTS, target: Path = PAGE) -> str:
    """Return all stored reports as Markdown: topics by name, in each the newest report first, whose title counts."""
    topics: dict[str, list[Stored]] = {}
    for stored in sorted(
        map(Stored.read, results.rglob("*.json")), key=lambda stored: stored.measured_at, reverse=True
    ):
        topics.setdefault(stored.topic, []).append(stored)
    parts = [PREFACE]
    for _, reports in sorted(topics.items()):
        parts += [f"## {reports[0].report.title}\n", *(stored.section(target) for stored in reports)]
    return "\n".join(parts)
