"""What must happen so that no task is forgotten, whatever was killed: settling, adopting, purging."""

import asyncio
import logging
from collections.abc import Mapping
from uuid import UUID

from shared import callbacks, tasks
from shared.contract import TaskState
from shared.database import Connection, Pool
from shared.errors import JobFailed
from shared.jobs import Chore, Queue
from shared.settings import Settings
from shared.workplace import Workplace

CRASH_LIMIT = 3
SILENT_SECONDS = 60.0
CANCELLED: TaskState = "cancelled"
FAILED: TaskState = "failed"

logger = logging.getLogger(__name__)


class Housekeeping:
    """Chores over the task rows, safe to run by several processes at once."""

    def __init__(self, settings: Settings, pool: Pool, queue: Queue) -> None:
        self._settings = settings
        self._pool = pool
        self._queue = queue
        self._workplace = Workplace(settings)

    @property
    def chores(self) -> Mapping[str, tuple[str, Chore]]:
        """The periodic ones, with their times."""
        return {
            "kinora.revive": ("* * * * *", self.revive),
            "kinora.purge": ("17 * * * *", self.purge),
        }

    async def settle(self, row_id: UUID) -> bool:
        """Decide about a run whose runner died: True when it shall run again, False when it has its end.

        Doing this twice for one death changes nothing: only a row that still says "running" counts a crash.
        """

        async def decide(connection: Connection) -> tasks.TaskRow | None:
            row = await tasks.read(connection, row_id, lock=True)
            if row is None or not row.active:
                return None
            row = await tasks.requeue(connection, row_id, crashed=True) or row
            if row.cancel:
                problem, state = JobFailed("cancelled"), CANCELLED
            elif row.crashes >= CRASH_LIMIT:
                problem, state = JobFailed("poison", crashes=row.crashes), FAILED
            else:
                return row
            body = callbacks.failure(row, problem, self._settings.language)
            await callbacks.conclude(connection, self._queue, row, state, body)
            return await tasks.read(connection, row_id)

        row = await self._pool.insist(decide)
        if row is None:
            return False
        if not row.active:
            await asyncio.to_thread(self._workplace.clear, row)
        return row.active

    async def revive(self) -> None:
        """Find what the queue has lost: jobs of machines that are gone, rows and callbacks without a job."""
        await self._queue.settle_stalled(self.settle)
        async with self._pool.transaction() as connection:
            silent = await tasks.silent(connection, SILENT_SECONDS)
            gone = await self._queue.lost(connection, [row.job_id for row in silent if row.job_id is not None])
        for row in silent:
            if (row.job_id is None or row.job_id in gone) and await self.settle(row.id):
                logger.warning("task %s had lost its job: queued anew", row.task_id)
                async with self._pool.transaction() as connection:
                    job = await self._queue.defer_run(connection, row.service, row.kind, row.id)
                    await tasks.note_job(connection, row.id, job)
        async with self._pool.transaction() as connection:
            await callbacks.adopt_lost(connection, self._queue)

    async def purge(self) -> tuple[int, int]:
        """Delete records and faces past their time; return how many of each."""
        async with self._pool.transaction() as connection:
            records, faces = await tasks.purge(
                connection, keep_days=self._settings.keep_days, faces_keep_days=self._settings.faces_keep_days
            )
        logger.info("purged %s task records and the faces of %s", records, faces)
        return records, faces
