"""When tasks will be done: by their own pace, by the work of earlier ones, and unknown rather than wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.tasks.cold_starts import ColdStarts, VersionStarts
from shared.tasks.queue_estimate import QueueEstimate, RunningTask, Usual, WaitingTask
from shared.tasks.views import newest_runs
from tests.support.task_store import TaskStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def running(seconds: float, **changes: Any) -> RunningTask:
    values: dict[str, Any] = {"runs_on": "1.0", "pace": 0.0, "megapixels": None} | changes
    return RunningTask(uuid4(), resumed_at=NOW - timedelta(seconds=seconds), **values)


def waiting(
    position: int,
    megapixels: float = 0.0,
    *,
    unmeasured: int = 0,
    runs_on: str = "1.0",
    since: datetime | None = None,
) -> WaitingTask:
    return WaitingTask(uuid4(), runs_on, position, megapixels, unmeasured, since)


@pytest.mark.parametrize(
    ("task", "usual", "expected"),
    [
        (running(30, pace=0.25), Usual(), 90),
        (running(30, pace=0.25), Usual(10, 1), 90),
        (running(3), Usual(10), 7),
        (running(3, megapixels=50), Usual(10, 2), 97),  # ten times the usual work
        (running(3, megapixels=50), Usual(10), 7),
        (running(30), Usual(10), None),  # longer than usual, and nothing is known: not 0
        (running(30, pace=0.001), Usual(10), 29970),
        (running(3, load_seconds=20), Usual(10), 27),  # 17 for the model, 10 for the task
        (running(30, load_seconds=20, pace=0.5), Usual(), 10),
        (running(3, load_seconds=20, pace=0.5), Usual(), 3),  # it was loaded sooner than expected
    ],
)
def test_a_running_task_is_judged_by_its_pace_then_by_its_work_then_by_others(
    task: RunningTask, usual: Usual, expected: float | None
) -> None:
    eta = QueueEstimate([task], [], usual, NOW).eta_seconds(task.id)
    assert eta is None if expected is None else eta == pytest.approx(expected)


def test_a_waiting_task_waits_for_the_work_before_it() -> None:
    at_work = running(10, pace=0.5)
    first, second, third = waiting(1, 100), waiting(2, 101), waiting(3, 101, unmeasured=1)
    estimate = QueueEstimate([at_work], [first, second, third], Usual(20, 3), NOW)
    assert [estimate.position(task.id) for task in (at_work, first, second, third)] == [None, 1, 2, 3]
    assert [estimate.eta_seconds(task.id) for task in (first, second, third)] == [310, 313, 333]
    unknown = QueueEstimate([running(30)], [first], Usual(20, 3), NOW)
    assert unknown.eta_seconds(first.id) is None


def test_runners_share_the_work_of_their_own_version() -> None:
    at_work = [running(10, pace=0.5), running(10, pace=0.5), running(1, pace=0.5, runs_on="2.0")]
    ours, other = waiting(1, unmeasured=1), waiting(1, unmeasured=1, runs_on="2.0")
    estimate = QueueEstimate(at_work, [ours, other], Usual(20), NOW)
    assert [estimate.eta_seconds(task.id) for task in (ours, other)] == [20, 21]
    assert QueueEstimate(at_work, [ours], Usual(), NOW).eta_seconds(ours.id) is None


def started(version: str, *, alive: bool = False, expected: bool = True, **seconds: Any) -> VersionStarts:
    measured = dict.fromkeys(("arrival_seconds", "start_seconds", "load_seconds")) | seconds
    return VersionStarts(version, alive, expected, **measured)


MEASURED: dict[str, Any] = {"arrival_seconds": 40.0, "start_seconds": 3.0, "load_seconds": 7.0}


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([started("1.0", **MEASURED)], 60),  # 50 for the start, 20 for the task, 10 of them have passed
        ([started("1.0", alive=True, **MEASURED)], 20),
        ([started("1.0", expected=False, **MEASURED)], 20),  # its service starts runners itself: 3 and 7
        ([started("1.0", load_seconds=2.0), started("2.0", **MEASURED)], 55),  # what it has not measured is another's
        ([started("1.0")], None),
        ([started("2.0", **MEASURED)], 20),  # an older release, which tells nothing of its runners
    ],
)
def test_what_waits_for_the_first_runner_waits_for_its_start_too(
    versions: list[VersionStarts], expected: float | None
) -> None:
    task = waiting(1, unmeasured=1, since=NOW - timedelta(seconds=10))
    assert QueueEstimate([], [task], Usual(20), NOW, ColdStarts(versions)).eta_seconds(task.id) == expected


def test_a_start_that_takes_longer_than_the_last_one_adds_nothing_below_zero() -> None:
    task = waiting(1, unmeasured=1, since=NOW - timedelta(seconds=90))
    starts = ColdStarts([started("1.0", **MEASURED)])
    assert QueueEstimate([], [task], Usual(20), NOW, starts).eta_seconds(task.id) == 20


async def test_the_places_come_from_the_rows(task_store: TaskStore) -> None:
    ids = [await task_store.task(number) for number in range(1, 6)]
    await task_store.claim(ids[0])
    for row, megapixels in zip(ids[1:4], (10, 20, 30), strict=True):
        details = f'{{"work": {{"frames": 1, "megapixels": {megapixels}}}}}'
        await task_store.sql("UPDATE kinora_tasks SET details = %s WHERE id = %s", details, row)
    async with task_store.pool.transaction() as connection:
        estimate = await QueueEstimate.read(connection, "interpo", "generate", ids[2:])
    assert [estimate.position(row) for row in ids] == [None, None, 2, 3, 4]


async def test_only_the_newest_run_of_a_job_is_listed_also_when_it_was_run_very_often(task_store: TaskStore) -> None:
    for _ in range(3):
        await task_store.task(7)
        await task_store.sql("UPDATE kinora_tasks SET state = 'failed' WHERE state = 'queued'")
    for _ in range(2):
        await task_store.task(8, kind="preview")
        await task_store.sql("UPDATE kinora_tasks SET state = 'cancelled' WHERE state = 'queued'")
    await task_store.sql(
        "UPDATE kinora_tasks SET fingerprint = 'another body', newest = true WHERE NOT newest AND task_id = 8"
    )
    last = await task_store.task(7)
    async with task_store.pool.transaction() as connection:
        listed = await newest_runs(connection, "interpo", task_id=None, state=None, limit=50)
        failed = await newest_runs(connection, "interpo", task_id=None, state="failed", limit=50)
    assert [(task.kind, task.task_id) for task in listed] == [("generate", 7), ("preview", 8), ("preview", 8)]
    assert listed[0].id == str(last)
    assert failed == []
