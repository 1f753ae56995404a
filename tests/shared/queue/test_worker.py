"""A worker recovers its slot, retries, keeps to its own jobs and sends heartbeats."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from shared.queue import worker
from shared.queue.worker import QueueWorker, TryLater
from shared.queue.worker_slot import Slot
from tests.support.task_store import Run, TaskStore, open_store, plan_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with open_store(tmp_path_factory.mktemp("worker")) as run:
        yield run


def test_a_worker_first_recovers_the_jobs_of_its_predecessor_in_the_slot(run: Run, tmp_path: Path) -> None:
    async def test(store: TaskStore) -> None:
        left, fresh = await store.task(1), await store.task(2)
        slot = Slot(tmp_path, "interpo.generate.0")
        stopping = asyncio.Event()
        assert await slot.take(stopping)
        [worker] = await store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        slot.note_worker(worker["id"])
        await store.sql(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE args->>'id' = %s",
            worker["id"], str(left),
        )  # fmt: skip
        await store.claim(left)
        slot.free()  # as a kill does
        assert await slot.take(stopping)
        ran = []

        async def handler(row: UUID) -> None:
            ran.append(row)
            if len(ran) == 2:
                stopping.set()

        await QueueWorker(store.pool.raw, slot).serve(plan_of(store, handler), stopping)
        assert ran == [left, fresh]
        assert (await store.read(left)).crashes == 1
        slot.free()

    run(test)


def test_a_periodic_task_that_died_does_not_keep_its_successor_from_beginning(run: Run, tmp_path: Path) -> None:
    async def test(store: TaskStore) -> None:
        await store.task()
        slot, stopping = Slot(tmp_path, "slot"), asyncio.Event()
        assert await slot.take(stopping)
        [worker] = await store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        slot.note_worker(worker["id"])
        await store.sql(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, status, worker_id) VALUES"
            " ('housekeeping', 'kinora.purge', 'kinora.purge', 'doing', %s),"
            " ('housekeeping', 'kinora.purge', 'kinora.purge', 'todo', NULL)",
            worker["id"],
        )

        async def handler(_row: UUID) -> None:
            stopping.set()

        await asyncio.wait_for(QueueWorker(store.pool.raw, slot).serve(plan_of(store, handler), stopping), 20)
        left = await store.sql("SELECT status::text AS status FROM procrastinate_jobs WHERE task_name = 'kinora.purge'")
        assert left == [{"status": "todo"}]
        slot.free()

    run(test)


def test_a_handler_may_ask_to_be_tried_later_and_one_that_breaks_is_tried_again(run: Run, tmp_path: Path) -> None:
    async def test(store: TaskStore) -> None:
        await store.task()
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

        await asyncio.wait_for(QueueWorker(store.pool.raw, slot).serve(plan_of(store, handler), stopping), 20)
        assert len(ran) == 3
        assert await store.sql("SELECT 1 FROM procrastinate_jobs WHERE queue_name LIKE 'interpo.generate%%'") == []
        slot.free()

    run(test)


@pytest.mark.parametrize("end", ["finishes", "puts back"])
def test_a_worker_that_comes_back_leaves_alone_what_somebody_else_has_by_now(
    run: Run, tmp_path: Path, end: str
) -> None:
    async def test(store: TaskStore) -> None:
        row = await store.task()
        slot, stopping = Slot(tmp_path, end), asyncio.Event()
        await slot.take(stopping)

        async def handler(_row: UUID) -> None:
            async with store.pool.transaction() as connection:
                assert await queue_worker.owns_run(connection, row)
            [other] = await store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
            await store.sql("UPDATE procrastinate_jobs SET worker_id = %s WHERE status = 'doing'", other["id"])
            async with store.pool.transaction() as connection:
                assert not await queue_worker.owns_run(connection, row)
            stopping.set()
            if end == "puts back":
                raise TryLater

        queue_worker = QueueWorker(store.pool.raw, slot)
        await asyncio.wait_for(queue_worker.serve(plan_of(store, handler), stopping), 20)
        assert await store.queue_of(row) == ("interpo.generate@1.0", "doing")
        slot.free()

    run(test)


def test_a_worker_sends_heartbeats_while_it_works_and_while_it_waits_for_its_last_job(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT_SECONDS", 0.1)

    async def test(store: TaskStore) -> None:
        await store.task()
        slot, stopping = Slot(tmp_path, "slot"), asyncio.Event()
        await slot.take(stopping)

        async def a_heartbeat_came() -> None:
            await store.sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
            young = "SELECT 1 FROM procrastinate_workers WHERE last_heartbeat > now() - interval '1 minute'"
            while not await store.sql(young):  # noqa: ASYNC110  # a row, no event
                await asyncio.sleep(0.05)

        async def handler(_row: UUID) -> None:
            await a_heartbeat_came()
            stopping.set()
            await asyncio.sleep(0.3)  # the worker has stopped all that it did beside its job
            await a_heartbeat_came()

        await asyncio.wait_for(QueueWorker(store.pool.raw, slot).serve(plan_of(store, handler), stopping), 20)
        slot.free()

    run(test)
