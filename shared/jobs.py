"""The queue: everything that knows Procrastinate, and nothing else does.

A task row is the truth about a task, a queued job only brings it to a runner. Jobs are deferred in the transaction
that writes the row; a worker's jobs go back to the queue the moment its successor takes over the slot.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, Self
from uuid import UUID

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.job_context import JobContext
from procrastinate.jobs import DeleteJobCondition, Job, Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.schema import SchemaManager
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from shared.slots import Slot

RUN = "kinora.run"
DELIVER = "kinora.deliver"
CALLBACKS = "callbacks"
HOUSEKEEPING = "housekeeping"

HEARTBEAT_SECONDS = 10.0
STALLED_SECONDS = 30.0  # without a beat: such a worker is looked at more closely
LOOKS, LOOK_SECONDS = 6, 5.0  # a closer look is longer than two beats, the storage answering all the time
FORGET_WORKER_SECONDS = 7 * 86400.0  # a pruned worker loses its jobs' trace, so prune only what is long dead
PAUSE_SECONDS = 0.5

Handler = Callable[[UUID], Awaitable[None]]
Chore = Callable[[], Awaitable[object]]

logger = logging.getLogger(__name__)


class TryLater(Exception):
    """Raised by a handler: put the job back into the queue, to run again at `at`."""

    def __init__(self, at: datetime | None = None) -> None:
        super().__init__("again later")
        self.at = at or datetime.now(UTC)


@dataclass(frozen=True)
class Work:
    """What one process does with the queue: which queues it serves, and how."""

    queues: tuple[str, ...]
    handlers: Mapping[str, Handler]  # RUN and DELIVER, by the id that the job carries
    chores: Mapping[str, tuple[str, Chore]]  # name -> cron expression and what to do
    settle: Callable[[UUID], Awaitable[bool]]  # a dead worker's RUN job: True sends it back, False ends it
    concurrency: int = 1
    polling_seconds: float = 5.0


class Queue:
    """The queue over one event loop's connections."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._app = App(connector=PsycopgConnector())
        self._jobs = self._app.job_manager
        self._stopping = asyncio.Event()

    async def opened(self) -> Self:
        """Make usable what needs more than the caller's connection: everything but deferring and dropping."""
        await self._app.open_async(self._pool)
        return self

    async def defer_run(self, connection: psycopg.AsyncConnection[Any], service: str, kind: str, row: UUID) -> int:
        """Queue a run inside the caller's transaction; return the job's id."""
        return await self._defer(connection, RUN, run_queue(service, kind), row)

    async def defer_callback(self, connection: psycopg.AsyncConnection[Any], callback: UUID) -> int:
        """Queue a delivery inside the caller's transaction; return the job's id."""
        return await self._defer(connection, DELIVER, CALLBACKS, callback)

    async def drop(self, connection: psycopg.AsyncConnection[Any], job_id: int | None) -> None:
        """Take a waiting job out of the queue inside the caller's transaction; a running one is left alone."""
        if job_id is not None:
            with _storage_errors():
                await self._jobs.cancel_job_by_id_async(job_id, delete_job=True, connection=connection)

    async def lost(self, connection: psycopg.AsyncConnection[Any], job_ids: list[int]) -> set[int]:
        """Return those of the ids that no longer wait or run."""
        cursor = await connection.execute(
            "SELECT id FROM procrastinate_jobs WHERE id = ANY(%s) AND status IN ('todo', 'doing')", (job_ids,)
        )
        return set(job_ids) - {row["id"] for row in await cursor.fetchall()}

    async def workers(self, connection: psycopg.AsyncConnection[Any], job_ids: list[int]) -> dict[int, int]:
        """Return which worker each of the jobs runs at."""
        cursor = await connection.execute(
            "SELECT id, worker_id FROM procrastinate_jobs WHERE id = ANY(%s) AND worker_id IS NOT NULL", (job_ids,)
        )
        return {row["id"]: row["worker_id"] for row in await cursor.fetchall()}

    async def serve(self, work: Work, slot: Slot, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set and the running jobs have ended. Call with the slot held.

        The worker ends whenever the storage fails, and starts again when it is back: at every start the jobs that
        the last worker of this slot left behind are settled.
        """
        await self.opened()
        self._app.job_manager = self._jobs = _NotedJobManager(self._app.connector, slot)
        self._register(work)
        self._stopping = stopping
        while not stopping.is_set():
            try:
                await self._settle_predecessor(work, slot)
                worker = Worker(
                    app=self._app,
                    queues=list(work.queues),
                    name=slot.name,
                    concurrency=work.concurrency,
                    fetch_job_polling_interval=work.polling_seconds,
                    delete_jobs=DeleteJobCondition.ALWAYS,
                    install_signal_handlers=False,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=FORGET_WORKER_SECONDS,
                )
                stopper = asyncio.create_task(_stop_when(stopping, worker))
                try:
                    await worker.run()  # type: ignore[no-untyped-call]
                finally:
                    stopper.cancel()
            except (ProcrastinateException, psycopg.Error) as error:
                logger.warning("queue: %s; trying again", error.__cause__ or error)
            except Exception:  # the worker must outlive anything that a worker can do
                logger.exception("queue: the worker broke; starting another")
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), PAUSE_SECONDS)

    async def beat(self, slot: Slot) -> None:
        """Say that this slot's worker lives. A worker that is waiting for its last job has stopped saying so itself."""
        if (worker := slot.worker) is not None:
            await self._jobs.update_heartbeat(worker)

    async def settle_stalled(self, settle: Callable[[UUID], Awaitable[bool]]) -> None:
        """Put back the jobs of workers that stay silent: those of a machine that is gone.

        When the storage or the network comes back after a while, every live worker looks silent. So only who says
        nothing while the storage keeps answering us, for longer than two beats, is taken for dead.
        """
        stalled = await self._stalled()
        for _ in range(LOOKS):
            if not stalled:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_SECONDS)
                return
            still = await self._stalled()
            stalled = {key: job for key, job in stalled.items() if key in still}
        for job in stalled.values():
            logger.warning("job %s lost its worker", job.call_string)
            await self._send_back(job, settle)

    async def _stalled(self) -> dict[tuple[int | None, int | None], Job]:
        """Return the jobs whose workers are silent; raise TimeoutError when the storage takes its time to say so."""
        async with asyncio.timeout(LOOK_SECONDS):
            jobs = await self._jobs.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS)
        return {(job.id, job.worker_id): job for job in jobs}

    def _register(self, work: Work) -> None:
        for name, handler in work.handlers.items():
            self._app.task(name=name, retry=_AsTold(), pass_context=True)(_by_id(handler))
        # At least one periodic task must exist in every worker: without one its listener dies unnoticed.
        for name, (cron, chore) in work.chores.items():
            task = self._app.task(name=name, queue=HOUSEKEEPING, queueing_lock=name)(_by_clock(chore))
            self._app.periodic(cron=cron)(task)

    async def _settle_predecessor(self, work: Work, slot: Slot) -> None:
        if (worker := slot.worker) is None:
            return
        for job in await self._jobs.list_jobs_async(worker_id=worker, status=Status.DOING.value):
            await self._send_back(job, work.settle)
        await self._jobs.unregister_worker(worker)
        slot.note_worker(None)

    async def _send_back(self, job: Job, settle: Callable[[UUID], Awaitable[bool]]) -> None:
        if job.task_name == RUN:
            again = await settle(UUID(str(job.task_kwargs["id"])))
        else:  # a chore comes again by the clock; its next turn may wait already, and two may not
            again = job.task_name == DELIVER
        if again:
            await self._jobs.retry_job(job)
        else:
            await self._jobs.finish_job(job, Status.FAILED, delete_job=True)

    async def _defer(self, connection: psycopg.AsyncConnection[Any], task: str, queue: str, id_: UUID) -> int:
        with _storage_errors():
            return await self._app.configure_task(task, queue=queue, connection=connection).defer_async(id=str(id_))


class _NotedJobManager(JobManager):
    """Notes the worker's id in the slot before the first job is fetched, so that a successor finds what it left."""

    def __init__(self, connector: Any, slot: Slot) -> None:
        super().__init__(connector)
        self._slot = slot

    async def register_worker(self) -> int:
        worker = await super().register_worker()
        self._slot.note_worker(worker)
        return worker


class _AsTold(BaseRetryStrategy):
    """Jobs run again exactly when their handler says so; any other end is final, the rows know how it went."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, TryLater):
            return RetryDecision(retry_at=exception.at)
        # A handler that broke (the storage went away, say) must not lose its row: pace it and try again.
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=min(60, 2 ** min(job.attempts, 6))))


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Raise psycopg's own errors inside the caller's transaction: by them it knows that the storage is away."""
    try:
        yield
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


def _by_id(handler: Handler) -> Callable[..., Awaitable[None]]:
    async def task(_context: JobContext, *, id: str) -> None:  # noqa: A002  # the name in the job's arguments
        await handler(UUID(id))

    return task


def _by_clock(chore: Chore) -> Callable[..., Awaitable[None]]:
    async def task(*, timestamp: int) -> None:  # noqa: ARG001  # Procrastinate passes it
        await chore()

    return task


async def _stop_when(stopping: asyncio.Event, worker: Worker) -> None:
    await stopping.wait()
    worker.stop()  # type: ignore[no-untyped-call]


def run_queue(service: str, kind: str) -> str:
    """Name the queue of a service's runs of one kind."""
    return f"{service}.{kind}"


def queue_schema() -> LiteralString:
    """Return the SQL that creates the queue's tables."""
    return SchemaManager.get_schema()
