"""The processors that a process may use: its affinity mask, and a container's quota."""

import os
from pathlib import Path

import pytest

from shared.process.cores import usable_cores


@pytest.mark.parametrize(
    ("text", "at_most"),
    [("max 100000", 10**6), ("150000 100000", 1), ("50000 100000", 1), ("800000 100000", 8), ("", 10**6)],
)
def test_a_quota_lowers_the_number(tmp_path: Path, text: str, at_most: int) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(text, encoding="ascii")
    assert usable_cores(limit) == min(len(os.sched_getaffinity(0)), at_most)


def test_outside_a_container_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "missing") == len(os.sched_getaffinity(0))
