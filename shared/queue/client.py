"""The queue: everything that knows Procrastinate, and nothing else does.

A task row is the truth about a task, a queued job only brings it to a runner of the version that accepted it. Jobs
are deferred in the transaction that writes the row; a dead worker's jobs go back to the queue the moment its successor
takes over the slot, or, when its machine is gone, once it has been silent for `STALLED_SECONDS`.
"""

import asyncio
import json
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

from shared.errors import Unavailable
from shared.queue.worker_slot import Slot

RUN = "kinora.run"
DELIVER = "kinora.deliver"
CALLBACKS = "callbacks"
HOUSEKEEPING = "housekeeping"
CHANNEL = "procrastinate_queue_v1#"  # and a queue's name: where its runners listen

HEARTBEAT_SECONDS = 5.0  # between a worker's signs of life, and between looks for those that give none
STALLED_SECONDS = 25.0  # without a beat, the storage answering all the time: such a worker is taken for dead
PRUNE_WORKER_SECONDS = 7 * 86400.0  # a pruned worker loses its jobs' trace, so prune only what is long dead
PAUSE_SECONDS = 0.5
NEVER_SECONDS = 1e9  # for what the worker would do of its own accord and is done here

Handler = Callable[[UUID], Awaitable[None]]
PeriodicTask = Callable[[], Awaitable[object]]
Connection = psycopg.AsyncConnection[Any]

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
    periodic_tasks: Mapping[str, tuple[str, PeriodicTask]]  # name -> cron expression and what to do
    recover: "Callable[[AbandonedJob], Awaitable[None]]"  # requeues or ends a dead worker's job
    every_heartbeat: tuple[
        PeriodicTask, ...
    ] = ()  # what else is done every HEARTBEAT_SECONDS; each goes on by itself when another hangs
    concurrency: int = 1
    polling_seconds: float = 5.0


@dataclass(frozen=True)
class AbandonedJob:
    """A job in the hands of a worker that is gone; whoever gives it back does so only while it still is."""

    job: int
    worker: int | None
    task: str  # RUN, DELIVER or a periodic task
    row: UUID | None  # of RUN and DELIVER


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

    async def defer_run(self, connection: Connection, service: str, kind: str, version: str, row: UUID) -> int:
        """Queue a run for the runners of a version inside the caller's transaction; return the job's id."""
        return await self._defer(connection, RUN, run_queue(service, kind, version), row)

    async def defer_callback(self, connection: Connection, callback: UUID) -> int:
        """Queue a delivery inside the caller's transaction; return the job's id."""
        return await self._defer(connection, DELIVER, CALLBACKS, callback)

    async def drop(self, connection: Connection, job_id: int | None) -> None:
        """Take a waiting job out of the queue inside the caller's transaction; a running one is left alone."""
        if job_id is not None:
            with _storage_errors():
                await self._jobs.cancel_job_by_id_async(job_id, delete_job=True, connection=connection)

    async def lost(self, connection: Connection, job_ids: list[int]) -> set[int]:
        """Return those of the ids that no longer wait or run."""
        cursor = await connection.execute(
            "SELECT id FROM procrastinate_jobs WHERE id = ANY(%s) AND status IN ('todo', 'doing')", (job_ids,)
        )
        return set(job_ids) - {row["id"] for row in await cursor.fetchall()}

    async def workers(self, connection: Connection, job_ids: list[int]) -> dict[int, int]:
        """Return which worker each of the jobs runs at."""
        cursor = await connection.execute(
            "SELECT id, worker_id FROM procrastinate_jobs WHERE id = ANY(%s) AND worker_id IS NOT NULL", (job_ids,)
        )
        return {row["id"]: row["worker_id"] for row in await cursor.fetchall()}

    async def send_heartbeat_for(self, connection: Connection, worker: int) -> None:
        """Give a sign of life for a worker that may be too starved to give its own, inside the caller's transaction."""
        await connection.execute("SELECT procrastinate_update_heartbeat_v1(%s)", (worker,))

    async def move(self, connection: Connection, queues: Mapping[int, str]) -> list[int]:
        """Put waiting jobs into other queues inside the caller's transaction; return those that still waited."""
        cursor = await connection.execute(
            "UPDATE procrastinate_jobs job SET queue_name = chosen.queue"
            " FROM unnest(%s::bigint[], %s::text[]) AS chosen (id, queue)"
            " WHERE job.id = chosen.id AND job.status = 'todo' RETURNING job.id",
            (list(queues), list(queues.values())),
        )
        moved = [row["id"] for row in await cursor.fetchall()]
        for queue in {queues[job] for job in moved}:
            await _wake(connection, queue)
        return moved

    async def stalled(self, connection: Connection) -> list[AbandonedJob]:
        """Return the jobs of workers without a sign of life for `STALLED_SECONDS`."""
        return await _left(
            connection,
            "LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id WHERE job.status = 'doing'"
            " AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %s))",
            STALLED_SECONDS,
        )

    async def lock_if_abandoned(self, connection: Connection, left: AbandonedJob) -> bool:
        """Hold a job until the transaction ends; False when it has gone through other hands meanwhile."""
        cursor = await connection.execute(
            "SELECT 1 FROM procrastinate_jobs WHERE id = %s AND worker_id IS NOT DISTINCT FROM %s AND status = 'doing'"
            " FOR UPDATE",
            (left.job, left.worker),
        )
        return await cursor.fetchone() is not None

    async def requeue_or_fail(self, connection: Connection, left: AbandonedJob, *, again: bool) -> None:
        """Queue a job that is `lock_if_abandoned` anew, or end it; inside the caller's transaction."""
        if again:
            await connection.execute(
                "SELECT procrastinate_retry_job_v2(%s, NULL::timestamptz, NULL, NULL, NULL)", (left.job,)
            )
            cursor = await connection.execute("SELECT queue_name FROM procrastinate_jobs WHERE id = %s", (left.job,))
            await _wake(connection, (await cursor.fetchall())[0]["queue_name"])
        else:
            await connection.execute("SELECT procrastinate_finish_job_v1(%s, 'failed', true)", (left.job,))

    async def owns_run(self, connection: Connection, row: UUID) -> bool:
        """Whether this process's worker is the one that the queue gave this run to."""
        cursor = await connection.execute(
            "SELECT 1 FROM procrastinate_jobs WHERE worker_id = %s AND status = 'doing' AND args->>'id' = %s",
            (self._jobs.worker if isinstance(self._jobs, _WatchedJobManager) else None, str(row)),
        )
        return await cursor.fetchone() is not None

    async def serve(self, work: Work, slot: Slot, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set and the running jobs have ended. Call with the slot held.

        The worker ends whenever the storage fails, and starts again when it is back: at every start the jobs that
        the last worker of this slot left behind are settled. It beats as long as this process has its job in hand, also
        while the worker waits for the job's end to start anew.
        """
        await self.opened()
        self._app.job_manager = self._jobs = manager = _WatchedJobManager(self._app.connector, slot)
        self._register(work)
        beats = [asyncio.create_task(_repeat(beat)) for beat in (manager.send_heartbeat, *work.every_heartbeat)]
        try:
            while not stopping.is_set():
                try:
                    await self._recover_predecessor(work, slot)
                    await self._work(work, slot, stopping)
                except (ProcrastinateException, psycopg.Error) as error:
                    logger.warning("queue: %s; trying again", error.__cause__ or error)
                except Exception:  # the worker must outlive anything that a worker can do
                    logger.exception("queue: the worker broke; starting another")
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), PAUSE_SECONDS)
        finally:
            for beat in beats:
                beat.cancel()

    async def _work(self, work: Work, slot: Slot, stopping: asyncio.Event) -> None:
        worker = Worker(
            app=self._app,
            queues=list(work.queues),
            name=slot.name,
            concurrency=work.concurrency,
            fetch_job_polling_interval=work.polling_seconds,
            abort_job_polling_interval=NEVER_SECONDS,  # a cancel stands in the row
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            update_heartbeat_interval=NEVER_SECONDS,  # the worker stops beating too early
            stalled_worker_timeout=PRUNE_WORKER_SECONDS,
        )
        stopper = asyncio.create_task(_stop_when(stopping, worker))
        try:
            await worker.run()  # type: ignore[no-untyped-call]
        finally:
            stopper.cancel()

    def _register(self, work: Work) -> None:
        for name, handler in work.handlers.items():
            self._app.task(name=name, retry=_AsTold(), pass_context=True)(_by_id(handler))
        # At least one periodic task must exist in every worker: without one its listener dies unnoticed.
        for name, (cron, periodic) in work.periodic_tasks.items():
            task = self._app.task(name=name, queue=HOUSEKEEPING, queueing_lock=name)(_by_clock(periodic))
            self._app.periodic(cron=cron)(task)

    async def _recover_predecessor(self, work: Work, slot: Slot) -> None:
        if (worker := slot.worker) is None:
            return
        async with self._pool.connection() as connection:
            remains = await _left(connection, "WHERE job.worker_id = %s AND job.status = 'doing'", worker)
        for left in remains:
            await work.recover(left)
        await self._jobs.unregister_worker(worker)
        slot.note_worker(None)

    async def _defer(self, connection: Connection, task: str, queue: str, id_: UUID) -> int:
        with _storage_errors():
            return await self._app.configure_task(task, queue=queue, connection=connection).defer_async(id=str(id_))


class _WatchedJobManager(JobManager):
    """Registers the worker where others can see it: in the slot, for its successor, and by its beats.

    It puts an end to a job only while the job is its worker's own. A machine that was cut off for a while comes back
    with a job that somebody else may have by then, under the same id.
    """

    def __init__(self, connector: Any, slot: Slot) -> None:
        super().__init__(connector)
        self.worker: int | None = None
        self._slot = slot

    async def send_heartbeat(self) -> None:
        if self.worker is not None:
            await self.update_heartbeat(self.worker)

    async def register_worker(self) -> int:
        self.worker = await super().register_worker()
        self._slot.note_worker(self.worker)
        return self.worker

    async def unregister_worker(self, worker_id: int) -> None:
        await super().unregister_worker(worker_id)
        self.worker = None

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: FBT001  # as inherited
        await self._if_ours(
            job,
            "procrastinate_finish_job_v1(ours.id, %(status)s::procrastinate_job_status, %(delete)s)",
            status=status.value, delete=delete_job,
        )  # fmt: skip

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        await self._if_ours(
            job,
            "procrastinate_retry_job_v2(ours.id, %(at)s::timestamptz, %(priority)s::int, %(queue)s, %(lock)s)",
            at=retry_at, priority=priority, queue=queue, lock=lock,
        )  # fmt: skip

    async def _if_ours(self, job: Job, act: LiteralString, **values: Any) -> None:
        found = await self.connector.execute_query_all_async(
            f"SELECT ours.id, {act} FROM (SELECT id FROM procrastinate_jobs WHERE id = %(job)s"  # noqa: S608  # constants of ours
            " AND worker_id = %(worker)s AND status = 'doing' FOR UPDATE) ours",
            job=job.id, worker=job.worker_id, **values,
        )  # fmt: skip
        if not found:
            logger.warning("job %s is no longer ours: left alone", job.id)


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


def _by_clock(periodic: PeriodicTask) -> Callable[..., Awaitable[None]]:
    async def task(*, timestamp: int) -> None:  # noqa: ARG001  # Procrastinate passes it
        await periodic()

    return task


async def _stop_when(stopping: asyncio.Event, worker: Worker) -> None:
    await stopping.wait()
    worker.stop()  # type: ignore[no-untyped-call]


async def _repeat(act: PeriodicTask) -> None:
    """Do something every HEARTBEAT_SECONDS; after a failure soon, so that it is done as soon as the storage is back."""
    while True:
        try:
            await act()
        except (ProcrastinateException, psycopg.Error, Unavailable):
            await asyncio.sleep(PAUSE_SECONDS)
        except Exception:  # it must go on whatever happens
            logger.exception("queue: a periodic action failed; retrying")
            await asyncio.sleep(HEARTBEAT_SECONDS)
        else:
            await asyncio.sleep(HEARTBEAT_SECONDS)


async def _left(connection: Connection, clause: LiteralString, *values: object) -> list[AbandonedJob]:
    cursor = await connection.execute(
        f"SELECT job.id, job.worker_id, job.task_name, job.args->>'id' AS row FROM procrastinate_jobs job {clause}",  # noqa: S608  # constants of ours
        values,
    )
    return [
        AbandonedJob(found["id"], found["worker_id"], found["task_name"], UUID(found["row"]) if found["row"] else None)
        for found in await cursor.fetchall()
    ]


async def _wake(connection: Connection, queue: str) -> None:
    """Tell the runners of a queue that there is something for them: only a new job does so by itself."""
    await connection.execute(
        "SELECT pg_notify(%s, %s)", (f"{CHANNEL}{queue}", json.dumps({"type": "job_inserted", "job_id": 0}))
    )


def run_queue(service: str, kind: str, version: str) -> str:
    """Name the queue of a service's runs of one kind, accepted by one version."""
    return f"{service}.{kind}@{version}"


def queue_schema() -> LiteralString:
    """Return the SQL that creates the queue's tables."""
    return SchemaManager.get_schema()
