"""Task rows and their recovery: nothing is forgotten, nothing ends twice, whatever died and wherever."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from shared.contract.messages import Callback
from shared.tasks import callbacks, rows
from shared.tasks.recovery import KILL_LIMIT
from shared.tasks.rows import storable
from tests.support.task_store import TaskStore


async def test_a_task_ends_once_and_says_so_once(task_store: TaskStore) -> None:
    row = await task_store.read(await task_store.task())
    for state, expected in (("succeeded", True), ("failed", False), ("cancelled", False)):
        async with task_store.pool.transaction() as connection:
            body = Callback(task_id=1, err_msg=state)
            assert await callbacks.finish_task(connection, task_store.queue, row, state, body) is expected  # type: ignore[arg-type]
    assert (await task_store.read(row.id)).state == "succeeded"
    assert len(await task_store.sql("SELECT 1 FROM kinora_callbacks")) == 1


async def test_result_and_callback_are_written_together_or_not_at_all(task_store: TaskStore) -> None:
    row = await task_store.read(await task_store.task())

    async def conclude_and_break() -> None:
        async with task_store.pool.transaction() as connection:
            await callbacks.finish_task(connection, task_store.queue, row, "succeeded", Callback(task_id=1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await conclude_and_break()
    assert (await task_store.read(row.id)).state == "queued"
    assert await task_store.sql("SELECT 1 FROM kinora_callbacks") == []
    assert await task_store.sql("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'kinora.deliver'") == []


async def test_a_claim_fences_every_earlier_attempt(task_store: TaskStore) -> None:
    row_id = await task_store.task()
    first = await task_store.claim(row_id)
    assert first
    assert await task_store.claim(row_id) is None  # it runs: nobody else may begin
    assert await task_store.recovery.recover_run(row_id)
    second = await task_store.claim(row_id)
    assert second
    assert second.attempt == first.attempt + 1
    async with task_store.pool.transaction() as connection:
        assert await rows.record_heartbeat(connection, first, 0.9) is None
        assert await rows.requeue(connection, row_id, attempt=first.attempt, crashed=False) is None
        beaten = await rows.record_heartbeat(connection, second, 0.25)
        told = await rows.record_heartbeat(connection, second, 0.25, details={"seed": 7, "share": float("nan")})
        kept = await rows.record_heartbeat(connection, second, 0.5)
    assert beaten
    assert beaten.progress == 0.25
    assert told
    assert kept
    assert told.details == kept.details == {"seed": 7, "share": None}


async def test_shown_progress_never_falls_not_even_for_a_second_attempt(task_store: TaskStore) -> None:
    row_id = await task_store.task()
    for progress, shown in ((0.75, 0.75), (0.25, 0.75)):
        row = await task_store.claim(row_id)
        assert row
        async with task_store.pool.transaction() as connection:
            now = await rows.record_heartbeat(connection, row, progress)
        assert now
        assert (now.progress, now.pace) == (shown, progress)
        await task_store.recovery.recover_run(row_id)


async def test_a_heartbeat_does_not_wait_for_the_disk_and_is_one_statement(
    task_store: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every running task sends two a second: with many runners nothing else asks as much of the storage."""
    row = await task_store.claim(await task_store.task())
    assert row
    async with task_store.pool.transaction() as connection:
        statements: list[object] = []
        execute = connection.execute

        async def counted(statement: Any, *values: Any) -> Any:
            statements.append(statement)
            return await execute(statement, *values)

        with monkeypatch.context() as patched:
            patched.setattr(connection, "execute", counted)
            assert await rows.record_heartbeat(connection, row, 0.5)
        [setting] = await (await execute("SELECT current_setting('synchronous_commit') AS value")).fetchall()
    assert (setting["value"], len(statements)) == ("off", 1)
    [setting] = await task_store.sql("SELECT current_setting('synchronous_commit') AS value")
    assert setting["value"] == "on"  # of the next transaction


async def test_settling_a_death_twice_counts_it_once_and_the_third_one_ends_the_task(task_store: TaskStore) -> None:
    row_id = await task_store.task()
    for death in (1, 2, 3):
        assert await task_store.claim(row_id)
        assert await task_store.recovery.recover_run(row_id) is (death < 3)
        assert await task_store.recovery.recover_run(row_id) is (death < 3)
        assert (await task_store.read(row_id)).crashes == death
    ended = await task_store.read(row_id)
    assert ended.state == "failed"
    assert ended.result
    assert "3 times" in ended.result["err_msg"]
    assert len(await task_store.sql("SELECT 1 FROM kinora_callbacks")) == 1


async def test_a_task_whose_runner_died_while_it_was_being_cancelled_ends_as_cancelled(task_store: TaskStore) -> None:
    row_id = await task_store.task()
    await task_store.claim(row_id)
    async with task_store.pool.transaction() as connection:
        await rows.ask_to_stop(connection, row_id)
    assert not await task_store.recovery.recover_run(row_id)
    assert (await task_store.read(row_id)).state == "cancelled"


async def test_kills_from_outside_count_as_no_crash_but_have_an_end_too(task_store: TaskStore) -> None:
    row_id = await task_store.task()
    for attempt in range(1, KILL_LIMIT + 1):
        assert await task_store.claim(row_id)
        assert await task_store.recovery.recover_run(row_id, killed=True) is (attempt < KILL_LIMIT)
    ended = await task_store.read(row_id)
    assert (ended.state, ended.crashes) == ("failed", 0)
    assert ended.result
    assert "enough memory" in ended.result["err_msg"]


async def test_a_row_whose_job_was_lost_is_queued_anew(task_store: TaskStore) -> None:
    row_id = await task_store.task()
    job_id = (await task_store.read(row_id)).job_id
    await task_store.recovery.requeue_lost()
    assert (await task_store.read(row_id)).job_id == job_id
    await task_store.sql("DELETE FROM procrastinate_jobs")
    await task_store.sql("UPDATE kinora_tasks SET created_at = now() - interval '5 minutes'")
    await task_store.recovery.requeue_lost()
    row = await task_store.read(row_id)
    assert row.state == "queued"
    assert row.crashes == 0
    assert [job["id"] for job in await task_store.sql("SELECT id FROM procrastinate_jobs")] == [row.job_id]


async def test_purging_forgets_faces_first_and_records_later_but_never_an_open_callback(task_store: TaskStore) -> None:
    ages = {1: 40, 2: 40, 3: 10, 4: 1, 5: 40}
    for task_id, days in ages.items():
        row = await task_store.read(await task_store.task(task_id, "preview", face=[1.0, 2.0]))
        async with task_store.pool.transaction() as connection:
            await callbacks.finish_task(
                connection,
                task_store.queue,
                row,
                "succeeded",
                Callback(task_id=task_id),
                artifact={"f": 1},
                artifact_key="k",
            )
            finished = datetime.now(UTC) - timedelta(days=days)
            await connection.execute("UPDATE kinora_tasks SET finished_at = %s WHERE id = %s", (finished, row.id))
            if task_id != 2:
                state = "parked" if task_id == 5 else "delivered"
                await connection.execute("UPDATE kinora_callbacks SET state = %s WHERE task = %s", (state, row.id))
    assert await task_store.recovery.purge() == (1, 4)
    left = await task_store.sql("SELECT task_id, memo, context FROM kinora_tasks ORDER BY task_id")
    assert [row["task_id"] for row in left] == [2, 3, 4, 5]
    assert [row["memo"] for row in left] == [None, None, {"f": 1}, None]
    assert [row["context"] for row in left] == [{}, {}, {"face": [1.0, 2.0]}, {}]
    async with task_store.pool.transaction() as connection:
        assert await rows.newest_artifact(connection, "interpo", "k", None) == {"f": 1}
        assert await rows.newest_artifact(connection, "interpo", "k", 3) is None


async def test_a_record_that_is_announced_anew_while_it_is_purged_keeps_its_callback(task_store: TaskStore) -> None:
    row = await task_store.read(await task_store.task())
    async with task_store.pool.transaction() as connection:
        await callbacks.finish_task(connection, task_store.queue, row, "succeeded", Callback(task_id=1))
        await connection.execute("UPDATE kinora_callbacks SET state = 'delivered'")
        await connection.execute("UPDATE kinora_tasks SET finished_at = now() - interval '40 days'")
    async with task_store.pool.transaction() as connection:
        await callbacks.enqueue_callback(connection, task_store.queue, await task_store.read(row.id))
        assert await task_store.recovery.purge() == (0, 0)
    assert await task_store.recovery.purge() == (0, 0)
    assert len(await task_store.sql("SELECT 1 FROM kinora_callbacks")) == 2


def test_whatever_a_pipeline_notes_can_be_stored() -> None:
    odd = {
        "nan": float("nan"),
        "half": np.float32(0.5),
        "row": np.arange(2),
        7: {1},
        "nul": "a\0b",
        "bad": "\ud800",
        "é": ("é",),
    }
    assert storable(odd) == {
        "nan": None, "half": 0.5, "row": [0, 1], "7": "{1}", "nul": "ab", "bad": "\\ud800", "é": ["é"],
    }  # fmt: skip
