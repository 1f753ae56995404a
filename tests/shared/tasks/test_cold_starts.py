"""The start of a runner: measured in parts, noted with its version, told to those that wait for the next one."""

from typing import Any

import pytest

from shared.runner import cold_start
from shared.runner.cold_start import ColdStart
from shared.tasks import cold_starts, heartbeats, rows, views
from shared.tasks.cold_starts import Part
from shared.tasks.heartbeats import AWAITED_SECONDS
from tests.support.task_store import TaskStore


async def heard(store: TaskStore, *, face: bool = False, runner: bool = False) -> None:
    async with store.pool.transaction() as connection:
        if face:
            await heartbeats.record_face(connection, "interpo", "generate", "1.0")
        if runner:
            await heartbeats.record(connection, "interpo", "generate", "1.0")


async def known(store: TaskStore) -> dict[str, Any]:
    [row] = await store.sql("SELECT arrival_seconds, start_seconds, load_seconds FROM kinora_versions")
    return row


async def waits_since(store: TaskStore, seconds: float) -> None:
    await store.sql("UPDATE kinora_tasks SET created_at = now() - make_interval(secs => %s)", seconds)


async def first_task(store: TaskStore, start: ColdStart) -> rows.TaskRow:
    """Have a runner take what waits, as it does between two heartbeats."""
    await start.look(store.pool)
    [waiting] = await store.sql("SELECT id FROM kinora_tasks WHERE state = 'queued'")
    row = await store.claim(waiting["id"])
    assert row
    start.took(row)
    await heard(store, runner=True)
    return row


@pytest.fixture
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has just begun: pytest's own is older than any task of these tests."""
    monkeypatch.setattr(cold_start, "process_seconds", lambda: 5.0)


@pytest.mark.usefixtures("young")
async def test_the_first_runner_measures_how_long_its_task_had_waited_before_its_process_began(
    task_store: TaskStore,
) -> None:
    await heard(task_store, face=True)
    await task_store.task()
    await waits_since(task_store, 95)
    start = ColdStart("interpo", "generate", "1.0", start_seconds=2.5)
    await first_task(task_store, start)
    await start.note(task_store.pool, None)
    assert await known(task_store) == {
        "arrival_seconds": pytest.approx(90, abs=3), "start_seconds": 2.5, "load_seconds": None,
    }  # fmt: skip
    await start.note(task_store.pool, 30.0)
    await task_store.sql("UPDATE kinora_versions SET arrival_seconds = 1")
    await start.note(task_store.pool, 30.0)  # once is enough
    assert await known(task_store) == {"arrival_seconds": 1, "start_seconds": 2.5, "load_seconds": 30}


@pytest.mark.usefixtures("young")
@pytest.mark.parametrize("case", ["another runner is at work", "nobody waited for it", "it came before the task"])
async def test_whose_task_waited_for_something_else_measures_no_arrival(task_store: TaskStore, case: str) -> None:
    await heard(task_store, face=case != "nobody waited for it", runner=case == "another runner is at work")
    await task_store.task()
    await waits_since(task_store, 3 if case == "it came before the task" else 95)
    start = ColdStart("interpo", "generate", "1.0", start_seconds=2.5)
    await first_task(task_store, start)
    await start.note(task_store.pool, None)
    assert (await known(task_store))["arrival_seconds"] in {None, 0}


async def test_a_start_that_something_held_up_is_no_measure(task_store: TaskStore) -> None:
    await heard(task_store, runner=True)
    start = ColdStart("interpo", "generate", "1.0", start_seconds=AWAITED_SECONDS + 1)
    await start.note(task_store.pool, 4.0)
    assert await known(task_store) == {"arrival_seconds": None, "start_seconds": None, "load_seconds": 4}


async def test_an_attempt_that_loads_the_model_says_so_and_what_is_usual_is_the_rest(task_store: TaskStore) -> None:
    await heard(task_store, runner=True)
    async with task_store.pool.transaction() as connection:
        await cold_starts.note(connection, "interpo", "generate", "1.0", {"load": 8.0})
    for task_id, loads in ((1, True), (2, False)):
        row_id = await task_store.task(task_id)
        async with task_store.pool.transaction() as connection:
            row = await rows.claim(connection, row_id, loads=loads)
            assert row
            [expected] = await (
                await connection.execute("SELECT load_seconds FROM kinora_tasks WHERE id = %s", (row_id,))
            ).fetchall()
        assert expected["load_seconds"] == (8 if loads else None)
    async with task_store.pool.transaction() as connection:
        cold = await rows.active(connection, "interpo", 1)
        await rows.note_load(connection, cold[0], 20.0)
    await task_store.sql(
        "UPDATE kinora_tasks SET state = 'succeeded', finished_at = resumed_at"
        " + make_interval(secs => CASE task_id WHEN 1 THEN 25 ELSE 5 END)"
    )
    await task_store.task(3)
    async with task_store.pool.transaction() as connection:
        [shown, *_] = await views.newest_runs(connection, "interpo", task_id=None, state="queued", limit=9)
    assert shown.eta_seconds == pytest.approx(5, abs=0.1)  # a runner is alive


async def test_the_eta_of_a_task_has_the_start_that_it_waits_for(task_store: TaskStore) -> None:
    done = await task_store.task(1)
    await task_store.claim(done)
    await task_store.sql("UPDATE kinora_tasks SET state = 'succeeded', finished_at = resumed_at + interval '10 s'")
    await heard(task_store, face=True)
    await task_store.task(2)

    async def eta() -> float | None:
        async with task_store.pool.transaction() as connection:
            [shown] = await views.newest_runs(connection, "interpo", task_id=2, state=None, limit=1)
        return shown.eta_seconds

    assert await eta() is None  # no start was ever measured
    async with task_store.pool.transaction() as connection:
        measured: dict[Part, float] = {"arrival": 60.0, "start": 5.0, "load": 15.0}
        await cold_starts.note(connection, "interpo", "generate", "1.0", measured)
    assert await eta() == pytest.approx(90, abs=5)
    await task_store.sql("UPDATE kinora_tasks SET created_at = now() - interval '30 s' WHERE task_id = 2")
    assert await eta() == pytest.approx(60, abs=5)
    await heard(task_store, runner=True)
    await task_store.sql("UPDATE kinora_versions SET beat_at = now()")
    assert await eta() == pytest.approx(10, abs=1)
