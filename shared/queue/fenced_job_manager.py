"""The worker's access to the queue's tables, fenced: a worker ends or requeues a job only while the job is its own."""

import logging
from datetime import datetime
from typing import Any, LiteralString

from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from shared.queue.worker_slot import Slot

logger = logging.getLogger(__name__)


class FencedJobManager(JobManager):
    """Procrastinate's own, which also knows its worker, and notes it in the slot for the successor.

    The fence is for a machine that was cut off for a while: when it comes back, another worker may hold its job, under
    the same id.
    """

    def __init__(self, connector: Any, slot: Slot) -> None:
        super().__init__(connector)
        self.worker: int | None = None  # the id of the registered worker
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

    async def _if_ours(self, job: Job, action: LiteralString, **values: Any) -> None:
        found = await self.connector.execute_query_all_async(
            f"SELECT ours.id, {action} FROM (SELECT id FROM procrastinate_jobs WHERE id = %(job)s"  # noqa: S608  # constants of ours
            " AND worker_id = %(worker)s AND status = 'doing' FOR UPDATE) ours",
            job=job.id, worker=job.worker_id, **values,
        )  # fmt: skip
        if not found:
            logger.warning("job %s belongs to another worker by now: left as it is", job.id)
