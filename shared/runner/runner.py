"""The runner: takes the tasks of one queue, one at a time, each for one attempt."""

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from uuid import UUID

from shared import logs
from shared.database.pool import Pool
from shared.errors import Unavailable
from shared.queue.client import HELP, RUN, AbandonedJob, Queue, run_queue
from shared.queue.worker import QueueWorker, TryLater, WorkerPlan
from shared.queue.worker_slot import Slot
from shared.runner.attempt import EXIT_UNRESPONSIVE, Attempt
from shared.runner.cold_start import ColdStart
from shared.runner.helping import Helper
from shared.runner.model_thread import ModelThread
from shared.settings import Settings
from shared.tasks import heartbeats, rows
from shared.tasks import tracing as task_tracing
from shared.tasks.recovery import TaskRecovery
from shared.tracing.tracer import Tracer
from shared.vocabulary import ServiceName, TaskKind

logger = logging.getLogger(__name__)


class Runner:
    """Works on the tasks of one kind, over a storage that is open and with a slot that is held.

    Everything but the pipelines happens in the event loop, so nothing here is shared with a thread.
    """

    def __init__(
        self,
        service: ServiceName,
        kind: TaskKind,
        settings: Settings,
        *,
        pool: Pool,
        slot: Slot,
        model: ModelThread,
        stopping: asyncio.Event,
        start: ColdStart,
        predecessor_killed: bool = False,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer or Tracer()
        self._service = service
        self._kind = kind
        self._settings = settings
        self._pool = pool
        self._model = model
        self._stopping = stopping
        self._start = start
        self._predecessor_killed = predecessor_killed  # until a task of this process's own could be abandoned
        self._queue = Queue()
        self._recovery = TaskRecovery(settings, pool, self._queue, self._tracer)
        self._worker = QueueWorker(pool.raw, slot)
        self._attempt: Attempt | Helper | None = None  # the running one
        self._unhelpful: set[UUID] = set()  # tasks with which this runner cannot help
        self._drained = False  # the running attempt has had its time to finish

    async def serve(self) -> None:
        """Run tasks until `stopping` is set; then the running one has `drain_seconds` to finish, or is requeued."""
        with suppress(Unavailable):  # another time
            await self._recovery.remove_stale_workspaces()
            await self._start.look(self._pool)
        if self._settings.preload:
            await self._model.preload()
        logger.info("%s %s: ready", self._service, self._kind)
        drain = asyncio.create_task(self._drain(), name="drain")
        await self._worker.serve(self._plan(), self._stopping)
        drain.cancel()
        with suppress(Unavailable):  # it may have had no heartbeat since it took its only task
            await self._start.note(self._pool, self._model.load_seconds)

    def _plan(self) -> WorkerPlan:
        return WorkerPlan(
            queues=(run_queue(self._service, self._kind, self._settings.version),),
            handlers={RUN: self._run, HELP: self._help},
            periodic_tasks=self._recovery.periodic_tasks,
            recover=self._recover,
            every_heartbeat=(self._record_version, self._recovery.reap_dead_workers),
        )

    async def _drain(self) -> None:
        """Give the running attempt its time to finish, or a segment of it; then requeue its task."""
        await self._stopping.wait()
        if self._attempt:
            self._attempt.wind_down()
        await asyncio.sleep(self._settings.limits.drain_seconds)
        self._drained = True
        if self._attempt:
            self._attempt.requeue()

    async def _recover(self, left: AbandonedJob) -> None:
        await self._recovery.recover_job(left, killed=self._predecessor_killed)

    async def _run(self, row_id: UUID) -> None:
        """Make one attempt at a queued task. The queue's handler."""
        self._predecessor_killed = False
        row = await self._claim(row_id)
        if row is None:
            return
        task_tracing.record_wait(self._tracer, row)
        with task_tracing.attempt(self._tracer, row) as span:
            logs.this_process_runs(task_id=row.task_id, attempt=row.attempt, trace_id=span.trace_id)
            logger.info("task %s: attempt %s begins", row.task_id, row.attempt)
            attempt = Attempt(row, self._settings, self._pool, self._queue, self._model, tracer=self._tracer)
            self._attempt = attempt
            self._hurry()
            try:
                result = await attempt.run()
                if result == "fenced":
                    await self._leave_fenced(row)
            finally:
                self._attempt = None
                logs.this_process_runs()
        if result == "requeued":
            raise TryLater

    async def _help(self, row_id: UUID) -> None:
        """Make segments of a task that another runner works on. The queue's handler."""
        self._predecessor_killed = False
        worker = self._worker.id
        if row_id in self._unhelpful or worker is None:
            return
        self._attempt = helper = Helper(
            row_id, self._settings, self._pool, self._queue, self._model, worker=worker, tracer=self._tracer
        )
        self._hurry()
        try:
            if not await helper.run():
                self._unhelpful.add(row_id)
        finally:
            self._attempt = None

    def _hurry(self) -> None:
        """Tell what has just begun that this runner is stopping, or that the time for it is over."""
        if self._attempt and self._stopping.is_set():
            self._attempt.wind_down()
        if self._attempt and self._drained:
            self._attempt.requeue()

    async def _claim(self, row_id: UUID) -> rows.TaskRow | None:
        """Return the row with its next attempt, None when it does not wait any more."""
        async with self._pool.transaction() as connection:
            if row := await rows.claim(connection, row_id, loads=self._model.load_seconds is None):
                self._start.took(row)
                return row
        async with self._pool.transaction() as connection:
            found = await rows.read(connection, row_id)
        if found and found.state == "queued":  # it was cancelled while it was being requeued
            await self._recovery.recover_run(row_id)
        return None

    async def _leave_fenced(self, row: rows.TaskRow) -> None:
        """Leave a task that another attempt has taken over, as after a while without the network.

        When the queue still counts the task's job as this process's, only the end of the process can have it recovered.
        """
        logger.error("task %s: attempt %s was taken over", row.task_id, row.attempt)
        if await self._pool.retry_until_committed(partial(self._worker.owns_run, row=row.id)):
            os._exit(EXIT_UNRESPONSIVE)

    async def _record_version(self) -> None:
        """Record that this version takes tasks; one that drains does not."""
        if not self._stopping.is_set():
            async with self._pool.transaction() as connection:
                await heartbeats.use_async_commit(connection)
                await heartbeats.record(connection, self._service, self._kind, self._settings.version)
            await self._start.note(self._pool, self._model.load_seconds)
