"""Helping: a runner without a task makes segments of one that another runner works on."""

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from uuid import UUID

from shared import logs
from shared.database.pool import Connection, Pool
from shared.errors import Unavailable
from shared.pipeline.job import JobStopped, Result, SegmentMade
from shared.pipeline.segment_store import SEGMENTS
from shared.queue.client import Queue, run_queue
from shared.runner.attempt import EXIT_UNRESPONSIVE, GRACE_SECONDS, PROGRESS_SECONDS
from shared.runner.cancellation import CancellationToken
from shared.runner.gpu_lock import hold_gpu
from shared.runner.model_thread import ModelThread
from shared.runner.running_job import RunningJob
from shared.runner.segment_ledger import HelperLedger, this_process
from shared.settings import Settings
from shared.tasks import helping, rows
from shared.tasks import tracing as task_tracing
from shared.tasks.helping import Claim
from shared.tasks.rows import TaskRow
from shared.tasks.workspace import Workspace
from shared.tracing.tracer import Tracer

CLAIM_TRIES = 5  # two helpers may reach for the same segment

logger = logging.getLogger(__name__)


class Helper:
    """Makes segments of one task until none is free, a whole task waits, or this runner stops."""

    def __init__(
        self,
        task: UUID,
        settings: Settings,
        pool: Pool,
        queue: Queue,
        model_thread: ModelThread,
        *,
        worker: int,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer or Tracer()
        self._task = task
        self._settings = settings
        self._pool = pool
        self._queue = queue
        self._model_thread = model_thread
        self._worker = worker
        self._workspace = Workspace(settings)
        self._token = CancellationToken()
        self._leaving = False

    def wind_down(self) -> None:
        """Leave after the segment at hand."""
        self._leaving = True

    def requeue(self) -> None:
        """Leave at once."""
        self._leaving = True
        self._token.cancel("draining")

    async def run(self) -> bool:
        """Help; False when this runner cannot, which it need not try again for the same task.

        The model is loaded first: while that takes minutes, the task's own attempt must not wait for a segment.
        """
        if not await self._pool.retry_until_committed(self._join):
            return True
        try:
            await self._model_thread.load()
        except Exception:
            logger.exception("cannot help: the model could not be loaded")
            return False
        while not self._leaving:
            found = await self._pool.retry_until_committed(self._claim)
            if found is None:
                return True
            row, claim = found
            with task_tracing.helping(self._tracer, row, claim.number) as span:
                outcome = await self._make(row, claim)
                if not isinstance(outcome, SegmentMade):
                    span.fail(outcome if isinstance(outcome, BaseException) else "not_made")
            await self._pool.retry_until_committed(partial(helping.release, task=row.id, helper=self._worker))
            if not isinstance(outcome, SegmentMade):
                return await self._give_up(row, outcome)
        return True

    async def _join(self, connection: Connection) -> bool:
        """Call for one more helper; False when there is nothing to help with."""
        row = await self._helped(connection)
        if row:
            await helping.call(connection, self._queue, row, self._settings.limits.helpers)
        return row is not None

    async def _helped(self, connection: Connection) -> TaskRow | None:
        """Return the task if it runs; None also when whole tasks wait."""
        row = await rows.read(connection, self._task)
        if row is None or row.state != "running" or row.cancel:
            return None
        if await self._queue.runs_wait(connection, run_queue(row.service, row.kind, row.runs_on or row.version)):
            return None
        return row

    async def _claim(self, connection: Connection) -> tuple[TaskRow, Claim] | None:
        """Lease a segment and call for one more helper; None when whole tasks wait or nothing is free."""
        row = await self._helped(connection)
        if row is None:
            return None
        for _ in range(CLAIM_TRIES):
            if claim := await helping.claim(connection, row.id, self._worker, this_process()):
                await helping.call(connection, self._queue, row, self._settings.limits.helpers)
                return row, claim
        return None

    async def _make(self, row: TaskRow, claim: Claim) -> BaseException | Result:
        """Make one segment; return what came of it. Ends the process around a pipeline that does not stop."""
        logger.info("task %s: helps with segment %s", row.task_id, claim.number)
        self._token = CancellationToken() if not self._leaving else self._token
        job = RunningJob(
            row,
            self._settings,
            workdir=self._workspace.folder(row) / f"helper-{os.getpid()}",
            token=self._token,
            confirm=self._refuse,
            ledger=HelperLedger(row, self._pool, self._token, claim=claim, helper=self._worker),
            maker=f"{SEGMENTS}{row.attempt}h{self._worker}",  # so that all of it goes with the segments
        )
        thread = self._model_thread.submit(partial(self._work, job, row))
        while not (await asyncio.wait({thread}, timeout=PROGRESS_SECONDS))[0]:
            if self._token.overdue(GRACE_SECONDS):
                logger.error("task %s: help does not stop: the runner exits", row.task_id)
                os._exit(EXIT_UNRESPONSIVE)
            with suppress(Unavailable):
                async with self._pool.transaction() as connection:
                    if not await helping.renew(connection, row.id, self._worker, claim):
                        self._token.cancel("fenced")
        return await thread

    def _work(self, job: RunningJob, row: TaskRow) -> Result | BaseException:
        """Do what happens in the model's thread."""
        try:
            with hold_gpu(self._settings, row.kind, job.check):
                return self._model_thread.run_pipeline(job, row.request)
        except BaseException as error:  # noqa: BLE001  # the runner must go on, whatever a pipeline does
            return error

    def _refuse(self) -> None:
        """Keep a helper from publishing: a result is its task's own attempt's."""
        raise JobStopped("fenced")

    async def _give_up(self, row: TaskRow, outcome: BaseException | Result) -> bool:
        """Leave a task whose segment was not made; remove what lies about if it has ended meanwhile."""
        async with self._pool.transaction() as connection:
            now = await rows.read(connection, row.id)
        if now is None or not now.active:
            await asyncio.to_thread(self._workspace.remove_segments, row)
        if isinstance(outcome, JobStopped) and self._token.reason:
            logger.info("task %s: helps no longer (%s)", row.task_id, self._token.reason)
            return True
        with logs.about(service=row.service, kind=row.kind, task_id=row.task_id):
            logger.warning("task %s: cannot help here: %r", row.task_id, outcome)
        return False
