"""What makes sure that no task is lost, whatever was killed: recovering runs, requeueing, purging."""

import asyncio
import logging
import shutil
from collections.abc import Mapping
from functools import partial
from uuid import UUID

from shared import logs
from shared.database.pool import Connection, Pool
from shared.errors import JobFailed
from shared.queue.client import DELIVER, HELP, RUN, AbandonedJob, Queue, run_queue
from shared.queue.worker import PeriodicTask
from shared.settings import Settings
from shared.tasks import callbacks, fetched_inputs, heartbeats, helping, rows, segments
from shared.tasks import tracing as task_tracing
from shared.tasks.submission import enqueue_job
from shared.tasks.workspace import Workspace
from shared.tracing.tracer import Tracer
from shared.vocabulary import TaskState

CRASH_LIMIT = 3
KILL_LIMIT = 10  # attempts; a task that has the kernel kill its runner each time must have an end, too
LOST_JOB_SECONDS = 60.0
CANCELLED: TaskState = "cancelled"
FAILED: TaskState = "failed"

logger = logging.getLogger(__name__)


class TaskRecovery:
    """Recovers task rows; several processes may do so at once."""

    def __init__(self, settings: Settings, pool: Pool, queue: Queue, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or Tracer()
        self._settings = settings
        self._pool = pool
        self._queue = queue
        self._workplace = Workspace(settings)

    @property
    def periodic_tasks(self) -> Mapping[str, tuple[str, PeriodicTask]]:
        """The periodic tasks, with their times."""
        return {
            "kinora.revive": ("* * * * *", self.requeue_lost),
            "kinora.purge": ("17 * * * *", self.purge),
        }

    async def reap_dead_workers(self) -> None:
        """Find jobs of dead machines and requeue them; give tasks of versions without runners to one that has one.

        Every process that works with the queue does this every few seconds, so that it depends on none of them; all but
        one find that another has just done it.
        """
        async with self._pool.transaction() as connection:
            await heartbeats.use_async_commit(connection)
            if not await heartbeats.is_watched(connection):
                return
            remains = await self._queue.stalled(connection)
        for left in remains:
            if left.task != RUN:  # of a task's run, `recover_run` says which task it was
                logger.warning("job %s (%s %s) lost its worker", left.job, left.task, left.row)
            await self.recover_job(left, host_lost=True)
        await self._reassign_orphans()

    async def recover_job(self, left: AbandonedJob, *, killed: bool = False, host_lost: bool = False) -> None:
        """Decide about a job in a dead worker's hands. Doing this twice, or by two at once, changes nothing.

        `killed`: its process was ended from outside, which says nothing of the job. `host_lost`: nothing more is known
        than that its host is silent.
        """
        if left.task == RUN and left.row is not None:
            await self.recover_run(left.row, left, killed=killed, host_lost=host_lost)
            return

        async def decide(connection: Connection) -> None:
            if await self._queue.lock_if_abandoned(connection, left):
                if left.task == HELP and left.row is not None and left.worker is not None:
                    crashed = not (killed or host_lost)
                    await helping.release(connection, left.row, left.worker, crashed=crashed)
                # A periodic task is queued again by the clock; its next turn may be waiting, and two must not. Help is
                # called for again by the task's own attempt.
                await self._queue.requeue_or_fail(connection, left, again=left.task == DELIVER)

        await self._pool.retry_until_committed(decide)

    async def recover_run(
        self, row_id: UUID, left: AbandonedJob | None = None, *, killed: bool = False, host_lost: bool = False
    ) -> bool:
        """Decide about a run whose runner died: True when it shall run again, False when it has its end.

        Doing this twice for one death changes nothing: only a row that still says "running" counts a crash, and only a
        job that still belongs to the dead worker is taken from it.
        """

        async def decide(connection: Connection) -> tuple[rows.TaskRow | None, rows.TaskRow | None]:
            """Return the row as it is now, and as it was if it was running."""
            row = found = await rows.read(connection, row_id, lock=True)  # the row before its job, as everywhere
            if left and not await self._queue.lock_if_abandoned(connection, left):
                return None, None
            if row and row.active:
                row = await self._next(connection, row, killed=killed, host_lost=host_lost)
            if left:
                await self._queue.requeue_or_fail(connection, left, again=row is not None and row.active)
            return row, found if found and found.state == "running" else None

        row, lost = await self._pool.retry_until_committed(decide)
        if row is None:
            return False
        if lost is not None:
            task_tracing.record_lost(self._tracer, lost)
        with logs.about(service=row.service, kind=row.kind, task_id=row.task_id, trace_id=row.trace_id):
            logger.warning("task %s lost its runner: %s", row.task_id, row.state)
            if row.state in {CANCELLED, FAILED} and await asyncio.to_thread(self._workplace.clear, row):
                await self._pool.retry_until_committed(partial(helping.end, queue=self._queue, task=row.id))
        return row.active

    async def _next(
        self, connection: Connection, row: rows.TaskRow, *, killed: bool, host_lost: bool
    ) -> rows.TaskRow | None:
        """Return what becomes of an active row whose runner is gone: it waits again, or it has its end.

        A task in segments ends when its runners die again and again in the same segment, or before any: with each one
        that is finished, the count begins anew.
        """
        progress = await segments.last_progress(connection, row.id)
        died_in = None
        if row.state == "running":
            died_in = await segments.count_death(connection, row, crashed=not (killed or host_lost))
        if died_in or progress.attempt:  # the loss of a host, too, says nothing of a task that gets on
            killed = killed or host_lost
        row = await rows.requeue(connection, row.id, crashed=not killed) or row
        crashes, attempts = row.crashes - progress.crashes, row.attempt - progress.attempt
        if died_in:
            crashes, attempts = died_in.crashes, died_in.begun
        if row.cancel:
            problem, state = JobFailed("cancelled"), CANCELLED
        elif crashes >= CRASH_LIMIT and died_in:
            problem, state = JobFailed("poison_segment", crashes=crashes, frames=died_in.frames), FAILED
        elif crashes >= CRASH_LIMIT:
            problem, state = JobFailed("poison", crashes=crashes), FAILED
        elif killed and attempts >= KILL_LIMIT:
            problem, state = JobFailed("killed_too_often", attempts=attempts), FAILED
        else:
            return row
        body = callbacks.failure(row, problem, self._settings.language)
        await callbacks.finish_task(connection, self._queue, row, state, body)
        return await rows.read(connection, row.id)

    async def _reassign_orphans(self) -> None:
        """Give waiting tasks whose version has had no runner for a minute to the newest that has one."""

        async def move(connection: Connection) -> dict[heartbeats.Orphan, str]:
            orphans = {orphan.job_id: orphan for orphan in await heartbeats.orphans(connection)}
            queues = {job: run_queue(o.service, o.kind, o.successor_version) for job, o in orphans.items()}
            moved = await self._queue.move(connection, queues) if queues else []
            for job in moved:
                await rows.note_version(connection, orphans[job].row, orphans[job].successor_version)
            return {orphans[job]: queues[job] for job in moved}

        for orphan, queue in (await self._pool.retry_until_committed(move)).items():
            with logs.about(service=orphan.service, kind=orphan.kind, task_id=orphan.task_id):
                logger.warning("task %s: its version has no live runner; moved to %s", orphan.task_id, queue)

    async def remove_stale_workspaces(self) -> None:
        """Remove the scratch folders of runs that another machine has taken over; raise Unavailable."""
        stale = await asyncio.to_thread(self._workplace.stale)
        if not stale:
            return
        async with self._pool.transaction() as connection:
            at_work = await rows.running(connection, stale)
        for row in stale.keys() - at_work:
            await asyncio.to_thread(shutil.rmtree, stale[row], ignore_errors=True)

    async def requeue_lost(self) -> None:
        """Queue again what the queue has lost: rows and callbacks without a job."""
        async with self._pool.transaction() as connection:
            stalled = await rows.stalled(connection, LOST_JOB_SECONDS)
            gone = await self._queue.lost(connection, [row.job_id for row in stalled if row.job_id is not None])
        for row in stalled:
            if (row.job_id is None or row.job_id in gone) and await self.recover_run(row.id):
                with logs.about(service=row.service, kind=row.kind, task_id=row.task_id):
                    logger.warning("task %s had lost its job: queued again", row.task_id)
                await self._pool.retry_until_committed(partial(self._queue_anew, row=row))
        async with self._pool.transaction() as connection:
            await callbacks.requeue_orphaned(connection, self._queue)
        await self._remove_left_segments()
        await self._remove_left_inputs()

    async def _remove_left_segments(self) -> None:
        """Remove the segments of tasks whose runner was killed between their end and the removal."""
        async with self._pool.transaction() as connection:
            found = [await rows.read(connection, task) for task in await segments.of_ended_tasks(connection)]
        for row in filter(None, found):
            if await asyncio.to_thread(self._workplace.remove_segments, row):
                await self._pool.retry_until_committed(partial(helping.end, queue=self._queue, task=row.id))

    async def _remove_left_inputs(self) -> None:
        """Remove what was fetched for tasks whose runner was killed between their end and the removal."""
        async with self._pool.transaction() as connection:
            found = [await rows.read(connection, task) for task in await fetched_inputs.of_ended_tasks(connection)]
        for row in filter(None, found):
            if await asyncio.to_thread(self._workplace.remove_inputs, row):
                await self._pool.retry_until_committed(partial(fetched_inputs.forget, task=row.id))

    async def _queue_anew(self, connection: Connection, row: rows.TaskRow) -> None:
        version = row.runs_on or self._settings.version
        await enqueue_job(connection, self._queue, row.id, service=row.service, kind=row.kind, version=version)

    async def purge(self) -> tuple[int, int]:
        """Delete records and faces older than their limit; return how many of each."""
        async with self._pool.transaction() as connection:
            limits = self._settings.limits
            records, faces = await rows.purge(
                connection, keep_days=limits.keep_days, faces_keep_days=limits.faces_keep_days
            )
            await heartbeats.forget(connection, limits.keep_days)
        logger.info("purged %s task records and the faces of %s", records, faces)
        return records, faces
