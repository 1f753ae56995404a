"""When tasks will be done: by their own pace, by the work of earlier ones, and unknown rather than wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.tasks.queue_estimate import ActiveTask, QueueEstimate, Usual

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def task(state: str = "queued", **changes: Any) -> ActiveTask:
    values: dict[str, Any] = {"runs_on": "1.0", "pace": 0.0, "resumed_at": None, "megapixels": None}
    return ActiveTask(uuid4(), state, **values | changes)


def running(seconds: float, **changes: Any) -> ActiveTask:
    return task("running", resumed_at=NOW - timedelta(seconds=seconds), **changes)


@pytest.mark.parametrize(
    ("at_work", "usual", "expected"),
    [
        (running(30, pace=0.25), Usual(), 90),
        (running(30, pace=0.25), Usual(10, 1), 90),
        (running(3), Usual(10), 7),
        (running(3, megapixels=50), Usual(10, 2), 97),  # five times the usual work
        (running(30), Usual(10), None),  # longer than usual, and nothing is known: not 0
        (running(30, pace=0.001), Usual(10), 29970),
    ],
)
def test_a_running_task_is_judged_by_its_pace_then_by_its_work_then_by_others(
    at_work: ActiveTask, usual: Usual, expected: float | None
) -> None:
    eta = QueueEstimate([at_work], usual, NOW).eta_seconds(at_work.id)
    assert eta is None if expected is None else eta == pytest.approx(expected)


def test_a_waiting_task_waits_for_the_work_before_it() -> None:
    first, second, third = running(10, pace=0.5), task(megapixels=100.0), task(megapixels=1.0)
    estimate = QueueEstimate([first, second, third], Usual(20, 3), NOW)
    assert [estimate.position(waiting.id) for waiting in (first, second, third)] == [None, 1, 2]
    assert estimate.eta_seconds(second.id) == pytest.approx(310)
    assert estimate.eta_seconds(third.id) == pytest.approx(313)


def test_runners_share_the_work_of_their_own_version() -> None:
    tasks = [
        running(10, pace=0.5),
        running(10, pace=0.5),
        task(),
        running(1, pace=0.5, runs_on="2.0"),
        task(runs_on="2.0"),
    ]
    estimate = QueueEstimate(tasks, Usual(20), NOW)
    assert [estimate.eta_seconds(waiting.id) for waiting in (tasks[2], tasks[4])] == [20, 21]
    assert QueueEstimate(tasks, Usual(), NOW).eta_seconds(tasks[2].id) is None
