"""Task rows and their recovery: nothing is forgotten, nothing ends twice, whatever died and wherever."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from shared.contract.messages import Callback
from shared.tasks import callbacks, rows
from shared.tasks.rows import storable
from tests.support.task_store import Run, TaskStore, open_store


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with open_store(tmp_path_factory.mktemp("jobs")) as run:
        yield run


def test_a_task_ends_once_and_says_so_once(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row = await store.read(await store.task())
        for state, expected in (("succeeded", True), ("failed", False), ("cancelled", False)):
            async with store.pool.transaction() as connection:
                body = Callback(task_id=1, err_msg=state)
                assert await callbacks.finish_task(connection, store.queue, row, state, body) is expected  # type: ignore[arg-type]
        assert (await store.read(row.id)).state == "succeeded"
        assert len(await store.sql("SELECT 1 FROM kinora_callbacks")) == 1

    run(test)


def test_result_and_callback_are_written_together_or_not_at_all(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row = await store.read(await store.task())

        async def conclude_and_break() -> None:
            async with store.pool.transaction() as connection:
                await callbacks.finish_task(connection, store.queue, row, "succeeded", Callback(task_id=1))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await conclude_and_break()
        assert (await store.read(row.id)).state == "queued"
        assert await store.sql("SELECT 1 FROM kinora_callbacks") == []
        assert await store.sql("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'kinora.deliver'") == []

    run(test)


def test_a_claim_fences_every_earlier_attempt(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row_id = await store.task()
        first = await store.claim(row_id)
        assert first
        assert await store.claim(row_id) is None  # it runs: nobody else may begin
        assert await store.recovery.recover_run(row_id)
        second = await store.claim(row_id)
        assert second
        assert second.attempt == first.attempt + 1
        async with store.pool.transaction() as connection:
            assert await rows.record_heartbeat(connection, first, 0.9) is None
            assert await rows.requeue(connection, row_id, attempt=first.attempt, crashed=False) is None
            noted = await rows.record_heartbeat(connection, second, 0.25)
        assert noted
        assert noted.progress == 0.25

    run(test)


def test_shown_progress_never_falls_not_even_for_a_second_attempt(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row_id = await store.task()
        for progress, shown in ((0.75, 0.75), (0.25, 0.75)):
            row = await store.claim(row_id)
            assert row
            async with store.pool.transaction() as connection:
                now = await rows.record_heartbeat(connection, row, progress)
            assert now
            assert (now.progress, now.pace) == (shown, progress)
            await store.recovery.recover_run(row_id)

    run(test)


def test_settling_a_death_twice_counts_it_once_and_the_third_one_ends_the_task(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row_id = await store.task()
        for death in (1, 2, 3):
            assert await store.claim(row_id)
            assert await store.recovery.recover_run(row_id) is (death < 3)
            assert await store.recovery.recover_run(row_id) is (death < 3)
            assert (await store.read(row_id)).crashes == death
        ended = await store.read(row_id)
        assert ended.state == "failed"
        assert ended.result
        assert "3 times" in ended.result["err_msg"]
        assert len(await store.sql("SELECT 1 FROM kinora_callbacks")) == 1

    run(test)


def test_a_task_whose_runner_died_while_it_was_being_cancelled_ends_as_cancelled(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row_id = await store.task()
        await store.claim(row_id)
        async with store.pool.transaction() as connection:
            await rows.ask_to_stop(connection, row_id)
        assert not await store.recovery.recover_run(row_id)
        assert (await store.read(row_id)).state == "cancelled"

    run(test)


def test_a_row_whose_job_was_lost_is_queued_anew(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row_id = await store.task()
        job_id = (await store.read(row_id)).job_id
        await store.recovery.requeue_lost()
        assert (await store.read(row_id)).job_id == job_id
        await store.sql("DELETE FROM procrastinate_jobs")
        await store.sql("UPDATE kinora_tasks SET created_at = now() - interval '5 minutes'")
        await store.recovery.requeue_lost()
        row = await store.read(row_id)
        assert row.state == "queued"
        assert row.crashes == 0
        assert [job["id"] for job in await store.sql("SELECT id FROM procrastinate_jobs")] == [row.job_id]

    run(test)


def test_purging_forgets_faces_first_and_records_later_but_never_an_open_callback(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        ages = {1: 40, 2: 40, 3: 10, 4: 1, 5: 40}
        for task_id, days in ages.items():
            row = await store.read(await store.task(task_id, "preview", face=[1.0, 2.0]))
            async with store.pool.transaction() as connection:
                await callbacks.finish_task(
                    connection,
                    store.queue,
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
        assert await store.recovery.purge() == (1, 4)
        left = await store.sql("SELECT task_id, memo, context FROM kinora_tasks ORDER BY task_id")
        assert [row["task_id"] for row in left] == [2, 3, 4, 5]
        assert [row["memo"] for row in left] == [None, None, {"f": 1}, None]
        assert [row["context"] for row in left] == [{}, {}, {"face": [1.0, 2.0]}, {}]
        async with store.pool.transaction() as connection:
            assert await rows.newest_artifact(connection, "interpo", "k", None) == {"f": 1}
            assert await rows.newest_artifact(connection, "interpo", "k", 3) is None

    run(test)


def test_a_record_that_is_announced_anew_while_it_is_purged_keeps_its_callback(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row = await store.read(await store.task())
        async with store.pool.transaction() as connection:
            await callbacks.finish_task(connection, store.queue, row, "succeeded", Callback(task_id=1))
            await connection.execute("UPDATE kinora_callbacks SET state = 'delivered'")
            await connection.execute("UPDATE kinora_tasks SET finished_at = now() - interval '40 days'")
        async with store.pool.transaction() as connection:
            await callbacks.enqueue_callback(connection, store.queue, await store.read(row.id))
            assert await store.recovery.purge() == (0, 0)
        assert await store.recovery.purge() == (0, 0)
        assert len(await store.sql("SELECT 1 FROM kinora_callbacks")) == 2

    run(test)


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
