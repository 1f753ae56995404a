"""One attempt at a task: from the claimed row to its end, a requeue, or the discovery that it lost its fence."""

import asyncio
import logging
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NoReturn

from shared.database.pool import Connection, Pool
from shared.errors import Problem, Unavailable
from shared.media.media_info import MediaHeader
from shared.pipeline.job import JobStopped, Result
from shared.queue.client import Queue
from shared.runner.cancellation import CancellationToken, until_stopped
from shared.runner.ending import Ending, cancelled, ending_of
from shared.runner.gpu_lock import hold_gpu
from shared.runner.leftovers import Leftovers
from shared.runner.model_thread import ModelThread
from shared.runner.result_store import not_stored
from shared.runner.running_job import RunningJob
from shared.runner.segment_ledger import SegmentLedger
from shared.settings import Settings
from shared.tasks import callbacks, rows, segments
from shared.tasks import tracing as task_tracing
from shared.tasks.rows import TaskRow
from shared.tasks.workspace import Workspace
from shared.tracing import span as tracing
from shared.tracing.tracer import Tracer
from shared.vocabulary import TaskState

PROGRESS_SECONDS = 0.5  # how often progress is written and a cancel is seen
GRACE_SECONDS = 5.0  # how long a pipeline may take to stop before its process ends
FINAL_WRITE_SECONDS = 10.0  # how long the end of such a process waits for a storage that is away
EXIT_UNRESPONSIVE = 70
UNFINISHED = 0.999  # the most progress before the end: when the last frame is made, the file is still to be written

AttemptResult = Literal["ended", "requeued", "fenced"]  # fenced: the task belongs to another attempt by now

logger = logging.getLogger(__name__)


class Attempt:
    """One attempt at a claimed task. The event loop watches it; its pipeline runs in the model's thread."""

    def __init__(
        self,
        row: TaskRow,
        settings: Settings,
        pool: Pool,
        queue: Queue,
        model_thread: ModelThread,
        *,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer or Tracer()
        self._row = row
        self._settings = settings
        self._pool = pool
        self._queue = queue
        self._model_thread = model_thread
        self._loads = model_thread.load_seconds is None  # and has not noted yet how long that took
        self._workspace = Workspace(settings)
        self._leftovers = Leftovers(row, self._workspace, pool, queue)
        self._loop = asyncio.get_running_loop()
        self._token = CancellationToken()
        self._job = RunningJob(
            row,
            settings,
            workdir=self._workspace.folder(row),
            token=self._token,
            confirm=self._confirm_ownership,
            ledger=SegmentLedger(row, pool, self._token, queue=queue, helpers=settings.limits.helpers),
            maker=str(row.attempt),
        )
        self._told: Mapping[str, Any] | None = None  # the details that the row has
        # When the pipeline began; waiting for the GPU does not count. The model's thread writes it once, the event loop
        # only compares it: to read the old value means to notice a time limit at the next turn.
        self._began_at = math.inf
        self._headers: Mapping[str, MediaHeader] = {}  # of fetched inputs, written before the pipeline begins

    async def run(self) -> AttemptResult:
        """Run the pipeline and store what comes of it. Ends the process around a pipeline that does not stop."""
        work = asyncio.ensure_future(self._carry_out())
        while not (await asyncio.wait({work}, timeout=PROGRESS_SECONDS))[0]:
            if self._worked_seconds() > self._settings.limits.task_timeout_seconds:
                self._token.cancel("out_of_time")
            if self._token.overdue(GRACE_SECONDS):
                await self._exit_process()
            await self._send_heartbeat()
        return await self._conclude(await work)

    def wind_down(self) -> None:
        """Have the pipeline stop after the segment that it is making, where it makes any; the task waits for another
        attempt, which goes on there.
        """  # fmt: skip
        self._token.wind_down()

    def requeue(self) -> None:
        """Have the pipeline stop and the task wait for another attempt."""
        self._token.cancel("draining")

    def _worked_seconds(self) -> float:
        """Return how long this attempt has worked, and earlier ones on what they left to it; waiting is no work."""
        return time.monotonic() - self._began_at + self._job.progress.inherited_seconds

    async def _carry_out(self) -> Result | BaseException:
        """Fetch inputs that lie elsewhere, run the pipeline, put its result elsewhere; return what came of it."""
        if self._job.fetched.fields:
            try:
                self._headers = await self._job.fetched.bring(self._token.check_between_segments)
            except (Exception, JobStopped) as error:  # noqa: BLE001  # as in `_work`
                return error
        outcome = await self._model_thread.submit(self._work)
        self._began_at = math.inf  # what follows is no work
        if isinstance(outcome, Result) and self._job.store.used:
            try:
                self._job.details["stored"] = await until_stopped(self._job.store.put(outcome), self._token.check)
            except JobStopped as stop:
                if self._token.reason != "draining":
                    return stop
                self._job.details["stored"] = not_stored("stopped")
        return outcome

    def _work(self) -> Result | BaseException:
        """Do what happens in the model's thread; return what came of it."""
        try:
            with hold_gpu(self._settings, self._row.kind, self._job.check):
                self._began_at = time.monotonic()
                self._job.check()
                self._workspace.prepare(self._row)
                self._workspace.check_room(self._row)
                if self._headers:
                    names = self._job.fetched.names
                    self._job.details |= self._model_thread.check_fetched(self._row.request, self._headers, names)
                return self._model_thread.run_pipeline(self._job, self._row.request)
        except BaseException as error:  # noqa: BLE001  # a task must have its end, whatever its pipeline does
            return error
        finally:
            self._workspace.remove_scratch(self._row)

    async def _conclude(self, outcome: Result | BaseException) -> AttemptResult:
        """Store what came of the attempt, however long the storage is away."""
        if isinstance(outcome, JobStopped) and self._token.reason in {"draining", "fenced"}:
            self._withdraw_outputs()
            await self._job.store.withdraw()
            if self._token.reason == "fenced":
                return self._fenced()
            await self._pool.retry_until_committed(self._store_requeue)
            tracing.current().note({"kinora.outcome": "requeued"})
            logger.info("task %s: requeued", self._row.task_id)
            return "requeued"
        ending = ending_of(self._row, outcome, self._token.reason, self._settings)
        if ending.state != "succeeded":
            self._withdraw_outputs()
        stored = await self._pool.retry_until_committed(partial(self._store_end, ending=ending))
        if stored != ending.state:
            self._withdraw_outputs()
        if stored != "succeeded":
            await self._job.store.withdraw()
        if stored is None:
            return self._fenced()
        tracing.current().note({"kinora.outcome": stored})
        if stored == "failed" and isinstance(outcome, BaseException):
            tracing.current().fail(self._token.reason or outcome)
        if self._may_have_segments:
            await self._leftovers.remove_segments()
        if self._job.fetched.fields:
            await self._leftovers.remove_inputs()
        logger.info("task %s: %s", self._row.task_id, stored)
        return "ended"

    def _fenced(self) -> AttemptResult:
        """Leave the span to whoever took this attempt for dead, and has recorded it."""
        tracing.current().discard()
        return "fenced"

    def _withdraw_outputs(self) -> None:
        """Remove what was published; a folder that refuses must not keep the task from its end."""
        try:
            self._job.outputs.withdraw()
        except (OSError, Problem) as problem:
            logger.warning("task %s: its files could not be removed: %s", self._row.task_id, problem)

    @property
    def _may_have_segments(self) -> bool:
        return self._job.segments.used or self._row.attempt > 1

    async def _store_requeue(self, connection: Connection) -> None:
        await rows.requeue(connection, self._row.id, attempt=self._row.attempt, crashed=False)

    async def _store_end(self, connection: Connection, ending: Ending) -> TaskState | None:
        """Store an end once; return the state that the task got, None when the attempt had lost its fence."""
        now = await rows.read(connection, self._row.id, lock=True)
        if now is None or now.attempt != self._row.attempt:
            return None
        if not now.active:  # the answer to our own commit was lost, or somebody else ended it
            return now.state if now.result == ending.callback.model_dump() else None
        if now.state != "running":
            return None
        if now.cancel and ending.state == "succeeded":
            ending = cancelled(self._row, self._settings)
        await self._note_load(connection)
        details = dict(self._job.details)  # a copy: a pipeline that does not stop may still write
        if self._may_have_segments and (made := (await segments.summaries(connection, [now])).get(now.id)):
            details["segments"] = made | {"running": 0}
        await callbacks.finish_task(
            connection,
            self._queue,
            self._row,
            ending.state,
            ending.callback,
            details=details,
            artifact=ending.artifact,
            artifact_key=ending.artifact_key,
        )
        return ending.state

    async def _send_heartbeat(self) -> None:
        """Write progress and learn whether to go on. While the storage is away the pipeline just goes on."""
        with suppress(Unavailable):
            async with self._pool.transaction() as connection:
                progress, told = min(self._job.progress.value, UNFINISHED), self._job.told
                news = told if told is not self._told else None
                now = await rows.record_heartbeat(connection, self._row, progress, self._job.progress.pace, news)
                noted = await self._note_load(connection)
            self._told = told
            self._loads = self._loads and not noted
            self._obey(now)

    async def _note_load(self, connection: Connection) -> bool:
        """Note once how much of the attempt went to loading the model: what waits is judged by the rest."""
        seconds = self._model_thread.load_seconds
        if not self._loads or seconds is None:
            return False
        await rows.note_load(connection, self._row, seconds)
        return True

    def _confirm_ownership(self) -> None:
        """Block the model's thread until the row has said whether this attempt may publish."""
        asyncio.run_coroutine_threadsafe(self._check_ownership(), self._loop).result()

    async def _check_ownership(self) -> None:
        now = await self._pool.retry_until_committed(partial(rows.read, row=self._row.id))
        ours = now is not None and now.attempt == self._row.attempt and now.state == "running"
        self._obey(now if ours else None)

    def _obey(self, now: TaskRow | None) -> None:
        """Cancel the pipeline when its row asks for it, or is no longer this attempt's (None)."""
        if now is None:
            self._token.cancel("fenced")
        elif now.cancel:
            self._token.cancel("cancelled")

    async def _exit_process(self) -> NoReturn:
        """End the process around a pipeline that does not stop, once the task has the end that it was promised."""
        reason = self._token.reason
        logger.error("task %s does not stop (%s): the runner exits", self._row.task_id, reason)
        with suppress(Exception):  # nothing may keep the process alive; its successor recovers what was not stored
            if reason == "draining":
                await self._pool.retry_until_committed(self._store_requeue, seconds=FINAL_WRITE_SECONDS)
            elif reason != "fenced":
                ending = ending_of(self._row, JobStopped(), reason, self._settings)
                store_end = partial(self._store_end, ending=ending)
                await self._pool.retry_until_committed(store_end, seconds=FINAL_WRITE_SECONDS)
        with suppress(OSError, Problem):
            self._job.outputs.sweep()
            if reason not in {"draining", "fenced"}:
                self._job.segments.remove()
        self._workspace.remove_scratch(self._row)
        if reason != "fenced":
            await task_tracing.end_with_process(self._tracer, reason)
        os._exit(EXIT_UNRESPONSIVE)
