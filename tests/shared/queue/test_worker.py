"""A worker recovers its slot, retries, keeps to its own jobs and sends heartbeats."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from shared.queue import worker
from shared.queue.worker import QueueWorker, TryLater
from shared.queue.worker_slot import Slot
from tests.support.task_store import TaskStore, plan_of


async def test_a_worker_settles_what_its_predecessor_in_the_slot_left_before_it_begins(
    task_store: TaskStore, tmp_path: Path
) -> None:
    left, fresh = await task_store.task(1), await task_store.task(2)
    slot = Slot(tmp_path, "interpo.generate.0")
    stopping = asyncio.Event()
    assert await slot.take(stopping)
    [worker] = await task_store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
    slot.note_worker(worker["id"])
    await task_store.sql(
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE args->>'id' = %s",
        worker["id"], str(left),
    )  # fmt: skip
    await task_store.claim(left)
    slot.free()  # as a kill does
    assert await slot.take(stopping)
    ran = []

    async def handler(row: UUID) -> None:
        ran.append(row)
        if len(ran) == 2:
            stopping.set()

    await QueueWorker(task_store.pool.raw, slot).serve(plan_of(task_store, handler), stopping)
    assert ran == [left, fresh]
    assert (await task_store.read(left)).crashes == 1
    slot.free()


async def test_a_periodic_task_that_died_does_not_keep_its_successor_from_beginning(
    task_store: TaskStore, tmp_path: Path
) -> None:
    await task_store.task()
    slot, stopping = Slot(tmp_path, "slot"), asyncio.Event()
    assert await slot.take(stopping)
    [worker] = await task_store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
    slot.note_worker(worker["id"])
    await task_store.sql(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, status, worker_id) VALUES"
        " ('housekeeping', 'kinora.purge', 'kinora.purge', 'doing', %s),"
        " ('housekeeping', 'kinora.purge', 'kinora.purge', 'todo', NULL)",
        worker["id"],
    )

    async def handler(_row: UUID) -> None:
        stopping.set()

    await asyncio.wait_for(QueueWorker(task_store.pool.raw, slot).serve(plan_of(task_store, handler), stopping), 20)
    left = await task_store.sql(
        "SELECT status::text AS status FROM procrastinate_jobs WHERE task_name = 'kinora.purge'"
    )
    assert left == [{"status": "todo"}]
    slot.free()


async def test_a_handler_may_ask_to_be_tried_later_and_one_that_breaks_is_tried_again(
    task_store: TaskStore, tmp_path: Path
) -> None:
    await task_store.task()
    slot, stopping = Slot(tmp_path, "slot"), asyncio.Event()
    await slot.take(stopping)
    ran = []

    async def handler(_row: UUID) -> None:
        ran.append(datetime.now(UTC))
        if len(ran) == 1:
            raise TryLater
        if len(ran) == 2:
            raise ValueError
        stopping.set()

    await asyncio.wait_for(QueueWorker(task_store.pool.raw, slot).serve(plan_of(task_store, handler), stopping), 20)
    assert len(ran) == 3
    assert await task_store.sql("SELECT 1 FROM procrastinate_jobs WHERE queue_name LIKE 'interpo.generate%%'") == []
    slot.free()


@pytest.mark.parametrize("end", ["finishes", "puts back"])
async def test_a_worker_that_comes_back_leaves_alone_what_somebody_else_has_by_now(
    task_store: TaskStore, tmp_path: Path, end: str
) -> None:
    row = await task_store.task()
    slot, stopping = Slot(tmp_path, end), asyncio.Event()
    await slot.take(stopping)

    async def handler(_row: UUID) -> None:
        async with task_store.pool.transaction() as connection:
            assert await queue_worker.owns_run(connection, row)
        [other] = await task_store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        await task_store.sql("UPDATE procrastinate_jobs SET worker_id = %s WHERE status = 'doing'", other["id"])
        async with task_store.pool.transaction() as connection:
            assert not await queue_worker.owns_run(connection, row)
        stopping.set()
        if end == "puts back":
            raise TryLater

    queue_worker = QueueWorker(task_store.pool.raw, slot)
    await asyncio.wait_for(queue_worker.serve(plan_of(task_store, handler), stopping), 20)
    assert await task_store.queue_of(row) == ("interpo.generate@1.0", "doing")
    slot.free()


async def test_a_worker_sends_heartbeats_while_it_works_and_while_it_waits_for_its_last_job(
    task_store: TaskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT_SECONDS", 0.1)
    await task_store.task()
    slot, stopping = Slot(tmp_path, "slot"), asyncio.Event()
    await slot.take(stopping)

    async def a_heartbeat_came() -> None:
        await task_store.sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        young = "SELECT 1 FROM procrastinate_workers WHERE last_heartbeat > now() - interval '1 minute'"
        while not await task_store.sql(young):  # noqa: ASYNC110  # a row, no event
            await asyncio.sleep(0.05)

    async def handler(_row: UUID) -> None:
        await a_heartbeat_came()
        stopping.set()
        await asyncio.sleep(0.3)  # the worker has stopped all that it did beside its job
        await a_heartbeat_came()

    await asyncio.wait_for(QueueWorker(task_store.pool.raw, slot).serve(plan_of(task_store, handler), stopping), 20)
    slot.free()
