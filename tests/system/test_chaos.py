"""The chaos run, and above all its judge: a checker that cannot fail proves nothing."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos.checker import Verdict, check
from benchmarks.chaos.history import (
    Accepted,
    Delivered,
    FinalFile,
    FinalTask,
    History,
    Kill,
    Transition,
    Writers,
)


def callback(task_id: int, **changes: object) -> dict[str, object]:
    body = {"task_id": task_id, "preview_image": "", "reference_images": [], "video_url": f"{task_id}.mp4"}
    return body | {"err_code": 0, "err_msg": ""} | changes


def honest_history() -> History:
    """Two tasks; the runner was killed once during the first, and the receiver refused its callback once."""
    return History(
        kills=[Kill(1.5, "runner", 10)],
        accepted=[Accepted(0.5, 1), Accepted(0.6, 2), Accepted(0.7, 2)],
        delivered=[
            Delivered(3.1, "key-1", False, callback(1)),
            Delivered(4.0, "key-1", True, callback(1)),
            Delivered(5.0, "key-2", True, callback(2)),
        ],
        transitions=[
            Transition(0.4, "row-1", "upscale generate", 1, 0, "queued"),
            Transition(0.5, "row-2", "upscale generate", 2, 0, "queued"),
            Transition(1.0, "row-1", "upscale generate", 1, 1, "running"),
            Transition(2.0, "row-1", "upscale generate", 1, 1, "queued"),
            Transition(2.0, "row-1", "upscale generate", 1, 2, "running"),
            Transition(3.0, "row-1", "upscale generate", 1, 2, "succeeded"),
            Transition(3.0, "row-2", "upscale generate", 2, 1, "running"),
            Transition(4.5, "row-2", "upscale generate", 2, 1, "succeeded"),
        ],
        writers=[Writers(1.2, {"10": ".1.mp4.part"}), Writers(2.2, {"11": ".1.mp4.part"}), Writers(2.3, {})],
        tasks=[
            FinalTask(1, "succeeded", 2, "delivered", callback(1), repeated_segments=1),
            FinalTask(2, "succeeded", 1, "delivered", callback(2)),
        ],
        files=[FinalFile("1.mp4", whole=True, grew=False), FinalFile("2.mp4", whole=True, grew=False)],
    )


def verdict_after(doctor: Callable[[History], object]) -> Verdict:
    history = honest_history()
    doctor(history)
    return check(history)


def test_an_honest_history_is_all_zeros_and_counts_the_task_that_ran_twice() -> None:
    verdict = check(honest_history())
    assert verdict.line() == (
        "kills=1 accepted=2 lost=0 undelivered=0 overlaps=0 torn_files=0 run_twice=1 repeated_segments=1"
    )
    assert verdict.kept


def unknown(history: History) -> None:
    history.accepted.append(Accepted(0.9, 3))


def still_running(history: History) -> None:
    history.tasks[1] = replace(history.tasks[1], state="running", result=None)


def failed_without_reason(history: History) -> None:
    refusal = callback(2, video_url="", err_code=-1, err_msg="no")
    history.tasks[1] = replace(history.tasks[1], state="failed", result=refusal)
    history.delivered.append(Delivered(6, "key-9", True, refusal))
    del history.files[1]


def file_is_gone(history: History) -> None:
    del history.files[1]


def ended_twice(history: History) -> None:
    history.transitions.append(Transition(5.5, "row-2", "upscale generate", 2, 1, "failed"))


def never_acknowledged(history: History) -> None:
    history.delivered[2] = replace(history.delivered[2], acknowledged=False)


def told_something_else(history: History) -> None:
    history.delivered[2] = replace(history.delivered[2], body=callback(2, video_url="other.mp4"))


def began_during_another(history: History) -> None:
    history.transitions[6] = replace(history.transitions[6], at=2.9)


def began_after_one_that_never_ended(history: History) -> None:
    del history.transitions[5]


def two_processes_wrote(history: History) -> None:
    history.writers.append(Writers(2.5, {"10": ".1.mp4.part", "11": ".2.mp4.part"}))


def two_bodies_under_one_key(history: History) -> None:
    history.delivered.append(Delivered(7, "key-1", True, callback(1, video_url="x.mp4")))


def no_key(history: History) -> None:
    history.delivered.append(Delivered(7, "", True, callback(1)))


def half_a_file(history: History) -> None:
    history.files[0] = replace(history.files[0], whole=False)


def grew_in_public(history: History) -> None:
    history.files[0] = replace(history.files[0], grew=True)


def leftover(history: History) -> None:
    history.files.append(FinalFile(".3.mp4.part", whole=False, grew=False))


def unannounced(history: History) -> None:
    history.files.append(FinalFile("1-1.mp4", whole=True, grew=False))


@pytest.mark.parametrize(
    ("doctor", "promise"),
    [
        (unknown, "lost"),
        (still_running, "lost"),
        (failed_without_reason, "lost"),
        (file_is_gone, "lost"),
        (ended_twice, "lost"),
        (never_acknowledged, "undelivered"),
        (told_something_else, "undelivered"),
        (began_during_another, "overlaps"),
        (began_after_one_that_never_ended, "overlaps"),
        (two_processes_wrote, "overlaps"),
        (two_bodies_under_one_key, "overlaps"),
        (no_key, "overlaps"),
        (half_a_file, "torn_files"),
        (grew_in_public, "torn_files"),
        (leftover, "torn_files"),
        (unannounced, "torn_files"),
    ],
)
def test_a_broken_promise_is_found_and_named(doctor: Callable[[History], object], promise: str) -> None:
    verdict = verdict_after(doctor)
    assert not verdict.kept
    assert verdict.findings[promise], verdict


def test_more_repeated_segments_than_kills_are_a_broken_promise() -> None:
    history = honest_history()
    history.tasks[1] = replace(history.tasks[1], repeated_segments=1)
    verdict = check(history)
    assert not any(verdict.findings.values())
    assert not verdict.kept


def test_a_job_that_killed_its_runner_three_times_may_fail() -> None:
    history = honest_history()
    refusal = callback(2, video_url="", err_code=-1, err_msg="the runner died three times")
    history.tasks[1] = replace(history.tasks[1], state="failed", attempt=3, result=refusal)
    history.delivered.append(Delivered(6, "key-9", True, refusal))
    history.transitions = [
        Transition(float(at), "row-2", "upscale generate", 2, at, "running") for at in (10, 11, 12)
    ] + [Transition(13, "row-2", "upscale generate", 2, 3, "failed")]
    history.files = history.files[:1]
    assert check(history).kept


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_when_everything_is_killed_twenty_times() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--kills", "20", "--seed", "1"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    [line] = ran.stdout.splitlines()
    assert ran.returncode == 0, f"{line}\n{ran.stderr}"
    assert re.fullmatch(
        r"kills=20 accepted=\d+ lost=0 undelivered=0 overlaps=0 torn_files=0 run_twice=\d+ repeated_segments=\d+", line
    )  # fmt: skip
