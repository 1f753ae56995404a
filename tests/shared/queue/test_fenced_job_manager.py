"""What a worker asks of the storage is asked again while that is busy: no traceback, no job that stays "doing"."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from procrastinate import PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job, Status
from psycopg_pool import AsyncConnectionPool

from shared.queue.client import HOUSEKEEPING, RUN
from shared.queue.fenced_job_manager import FencedJobManager
from shared.queue.worker_slot import Slot
from tests.support.task_store import Storage, TaskStore

PERIODIC = Job(
    id=None, queue=HOUSEKEEPING, lock=None, queueing_lock="kinora.revive", task_name="kinora.revive",
    task_kwargs={"timestamp": 60},
)  # fmt: skip


class Manager:
    """A job manager over a pool of one connection, which a test can keep busy."""

    def __init__(self, jobs: FencedJobManager, pool: "AsyncConnectionPool[psycopg.AsyncConnection]") -> None:
        self.jobs = jobs
        self._pool = pool

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Lend the one connection to somebody else."""
        async with self._pool.connection(timeout=20):
            yield


@pytest.fixture
async def manager(task_store: TaskStore, task_storage: Storage, tmp_path: Path) -> AsyncIterator[Manager]:
    async with AsyncConnectionPool(task_storage.uri, min_size=1, max_size=1, timeout=0.2, open=False) as pool:
        connector = PsycopgConnector()
        await connector.open_async(pool)
        slot = Slot(tmp_path, "slot")
        assert await slot.take(asyncio.Event())
        await task_store.sql("TRUNCATE procrastinate_periodic_defers")
        yield Manager(FencedJobManager(connector, slot), pool)
        slot.free()


async def outlasts(manager: Manager, action: Callable[[], Awaitable[object]]) -> object:
    """Return what an action says that began when there was no connection for it, and failed at least twice."""
    async with manager.busy():
        asked = asyncio.ensure_future(action())
        await asyncio.sleep(1.5)
        assert not asked.done()
    return await asyncio.wait_for(asked, 20)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert not any(record.exc_info for record in caplog.records)
    return [record.getMessage() for record in caplog.records if record.name.startswith("shared.queue")]


async def test_a_periodic_task_is_queued_when_the_storage_has_time(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    """An error here is what Procrastinate tells as "deferrer error", with two tracebacks, before its worker ends."""
    assert await outlasts(manager, lambda: manager.jobs.defer_periodic_job(PERIODIC, "", 60))
    [line] = said(caplog)
    assert line == "queue: couldn't get a connection after 0.20 sec; kinora.revive waits to be queued"


async def test_the_end_of_a_job_is_noted_when_the_storage_has_time(
    manager: Manager, task_store: TaskStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the job would be "doing" for ever, in the hands of a worker that lives: a callback, never sent again."""
    await task_store.task()
    worker = await manager.jobs.register_worker()
    job = await manager.jobs.fetch_job(queues=None, worker_id=worker)
    assert job
    assert job.task_name == RUN
    await outlasts(manager, lambda: manager.jobs.finish_job(job, Status.SUCCEEDED, delete_job=True))
    assert await task_store.sql("SELECT 1 FROM procrastinate_jobs") == []
    [line] = said(caplog)
    assert line.endswith(f"the end of job {job.id} waits to be noted")


async def test_a_worker_that_stops_does_not_wait_for_a_storage_that_is_away(manager: Manager) -> None:
    manager.jobs.stopping.set()
    async with manager.busy():
        with pytest.raises(ConnectorException):
            await manager.jobs.defer_periodic_job(PERIODIC, "", 60)


async def test_two_workers_queue_a_periodic_task_once_and_say_nothing(
    manager: Manager, task_store: TaskStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool: AsyncConnectionPool[Any] = task_store.pool.raw
    connector = PsycopgConnector()
    await connector.open_async(pool)
    other = FencedJobManager(connector, Slot(tmp_path, "other"))
    queued = await asyncio.gather(*(jobs.defer_periodic_job(PERIODIC, "", 60) for jobs in (manager.jobs, other)))
    assert sorted(map(bool, queued)) == [False, True]
    later = PERIODIC.evolve(task_kwargs={"timestamp": 120})
    with pytest.raises(AlreadyEnqueued):  # the earlier one still waits: Procrastinate passes over it
        await other.defer_periodic_job(later, "", 120)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
