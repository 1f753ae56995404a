"""Runs of a comparison take turns, and one that fails leaves the other its result."""

from pathlib import Path

import pytest

from benchmarks.turns import in_turns

MODULE = "tests.support.taking_turns"


def test_parts_alternate_and_a_run_with_more_of_them_goes_on_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runs = [{"name": "a", "log": str(log), "parts": 2}, {"name": "b", "log": str(log), "parts": 4}]
    assert in_turns(MODULE, runs, device="cpu", limit=120) == [{"parts": 2}, {"parts": 4}]
    assert log.read_text() == "a0 b0 a1 b1 b2 b3 "


def test_a_run_that_fails_leaves_the_other_its_result(tmp_path: Path) -> None:
    runs = [{"name": name, "log": str(tmp_path / "log"), "parts": 2} for name in ("wrong", "right")]
    failed, made = in_turns(MODULE, runs, device="cpu", limit=120)
    assert failed == {"failed": "it broke"}
    assert made == {"parts": 2}


def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.turns.WAITS", "never said")
    runs = [{"name": "a", "log": str(tmp_path / "log"), "parts": 1}]
    assert in_turns(MODULE, runs, device="cpu", limit=1.0) == [{"failed": "more than 1 s"}]
