"""A worker of the queue: one process takes jobs, runs their handlers and shows by heartbeats that it is alive."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ProcrastinateException
from procrastinate.job_context import JobContext
from procrastinate.jobs import DeleteJobCondition, Job
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from shared.errors import Unavailable
from shared.queue.client import HEARTBEAT_SECONDS, HOUSEKEEPING, AbandonedJob, Connection, jobs_of
from shared.queue.fenced_job_manager import FencedJobManager
from shared.queue.worker_slot import Slot

PRUNE_WORKER_SECONDS = 7 * 86400.0  # pruning a worker removes it from its jobs, so prune only what is long dead
RETRY_SECONDS = 0.5  # before what failed is tried again
NEVER_SECONDS = 1e9  # turns off what Procrastinate's worker does at intervals and this module does itself
LONGEST_RETRY_SECONDS = 60

Handler = Callable[[UUID], Awaitable[None]]
PeriodicTask = Callable[[], Awaitable[object]]

logger = logging.getLogger(__name__)


class TryLater(Exception):
    """Raised by a handler: queue the job again, to run at `at`."""

    def __init__(self, at: datetime | None = None) -> None:
        super().__init__("try later")
        self.at = at or datetime.now(UTC)


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker does: the queues that it serves, and how."""

    queues: tuple[str, ...]
    handlers: Mapping[str, Handler]  # of RUN, HELP and DELIVER; called with the id that the job carries
    periodic_tasks: Mapping[str, tuple[str, PeriodicTask]]  # name -> cron expression and what to do
    recover: Callable[[AbandonedJob], Awaitable[None]]  # requeues or fails a dead worker's job
    every_heartbeat: tuple[PeriodicTask, ...] = ()  # done every HEARTBEAT_SECONDS; one that hangs delays no other
    concurrency: int = 1
    polling_seconds: float = 5.0


class QueueWorker:
    """The worker of one slot, inside one event loop. Everything but the constructor needs the slot to be held."""

    def __init__(self, pool: AsyncConnectionPool[Any], slot: Slot) -> None:
        self._pool = pool
        self._slot = slot
        self._app = App(connector=PsycopgConnector())
        self._jobs = FencedJobManager(self._app.connector, slot)
        self._app.job_manager = self._jobs

    async def serve(self, plan: WorkerPlan, stopping: asyncio.Event) -> None:
        """Carry out a plan until `stopping` is set and the running jobs have ended; call this once.

        The worker ends whenever the storage fails, and another starts when the storage is back; before each start, the
        jobs of the slot's last worker are recovered. Heartbeats are independent of this: they go on while a worker
        that is about to be replaced waits for its jobs to end.
        """
        await self._app.open_async(self._pool)
        self._jobs.stopping = stopping
        self._register_tasks(plan)
        heartbeats = [
            asyncio.create_task(_repeat_every_heartbeat(action))
            for action in (self._jobs.send_heartbeat, *plan.every_heartbeat)
        ]
        said = ""
        try:
            while not stopping.is_set():
                try:
                    await self._recover_predecessor(plan)
                    said = ""
                    await self._work(plan, stopping)
                except (ProcrastinateException, psycopg.Error) as error:
                    if said != (said := str(error.__cause__ or error)):
                        logger.warning("queue: %s; trying again", said)
                except Exception:  # whatever a worker raises, the next one may work
                    logger.exception("queue: the worker failed; starting another")
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
        finally:
            for heartbeat in heartbeats:
                heartbeat.cancel()

    @property
    def id(self) -> int | None:
        """The number under which the queue knows this worker now; None before it has begun."""
        return self._jobs.worker

    async def owns_run(self, connection: Connection, row: UUID) -> bool:
        """Whether the queue counts this run as this worker's."""
        cursor = await connection.execute(
            "SELECT 1 FROM procrastinate_jobs WHERE worker_id = %s AND status = 'doing' AND args->>'id' = %s",
            (self._jobs.worker, str(row)),
        )
        return await cursor.fetchone() is not None

    async def _work(self, plan: WorkerPlan, stopping: asyncio.Event) -> None:
        worker = Worker(
            app=self._app,
            queues=list(plan.queues),
            name=self._slot.name,
            concurrency=plan.concurrency,
            fetch_job_polling_interval=plan.polling_seconds,
            abort_job_polling_interval=NEVER_SECONDS,  # a cancel is a column of the task row
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            update_heartbeat_interval=NEVER_SECONDS,  # its own heartbeats end before its last job does
            stalled_worker_timeout=PRUNE_WORKER_SECONDS,
        )
        stopper = asyncio.create_task(_stop_when_set(stopping, worker))
        try:
            await worker.run()  # type: ignore[no-untyped-call]
        finally:
            stopper.cancel()

    def _register_tasks(self, plan: WorkerPlan) -> None:
        for name, handler in plan.handlers.items():
            task = _task_with_id(handler)
            self._app.task(name=name, retry=_RetryUntilHandled(), pass_context=True)(task)
        # At least one periodic task must exist in every worker: without one its listener dies unnoticed.
        for name, (cron, periodic) in plan.periodic_tasks.items():
            registered = self._app.task(name=name, queue=HOUSEKEEPING, queueing_lock=name)(_periodic_task(periodic))
            self._app.periodic(cron=cron)(registered)

    async def _recover_predecessor(self, plan: WorkerPlan) -> None:
        if (predecessor := self._slot.worker) is None:
            return
        async with self._pool.connection() as connection:
            abandoned = await jobs_of(connection, predecessor)
        for job in abandoned:
            await plan.recover(job)
        await self._jobs.unregister_worker(predecessor)
        self._slot.note_worker(None)


class _RetryUntilHandled(BaseRetryStrategy):
    """A job whose handler raises runs again; one whose handler returns is finished, its row says with what result."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, TryLater):
            return RetryDecision(retry_at=exception.at)
        # A handler that failed (the storage was away, say) must not lose its row: try again, less and less often.
        seconds = min(LONGEST_RETRY_SECONDS, 2 ** min(job.attempts, 6))
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=seconds))


def _task_with_id(handler: Handler) -> Callable[..., Awaitable[None]]:
    async def task(_context: JobContext, *, id: str) -> None:  # noqa: A002  # the name in the job's arguments
        await handler(UUID(id))

    return task


def _periodic_task(periodic: PeriodicTask) -> Callable[..., Awaitable[None]]:
    async def task(*, timestamp: int) -> None:  # noqa: ARG001  # Procrastinate passes it
        await periodic()

    return task


async def _stop_when_set(stopping: asyncio.Event, worker: Worker) -> None:
    await stopping.wait()
    worker.stop()  # type: ignore[no-untyped-call]


async def _repeat_every_heartbeat(action: PeriodicTask) -> None:
    """Run an action every HEARTBEAT_SECONDS; sooner after the storage failed, to be in time when it is back."""
    while True:
        try:
            await action()
        except (ProcrastinateException, psycopg.Error, Unavailable):
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:  # heartbeats must not end, whatever fails
            logger.exception("queue: a periodic action failed; retrying")
            await asyncio.sleep(HEARTBEAT_SECONDS)
        else:
            await asyncio.sleep(HEARTBEAT_SECONDS)
