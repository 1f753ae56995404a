"""The worker's access to the queue's tables, fenced: a worker ends or requeues a job only while the job is its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, LiteralString, TypeVar

import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager, NotificationCallback

from shared.queue.worker_slot import Slot

T = TypeVar("T")

RETRY_SECONDS = 0.5  # before what the storage did not answer is asked again

logger = logging.getLogger(__name__)


class FencedJobManager(JobManager):
    """Procrastinate's own, which also knows its worker, and notes it in the slot for the successor.

    The fence is for a machine that was cut off for a while: when it comes back, another worker may hold its job, under
    the same id.

    On a machine under full load a connection may take longer than the pool waits. Where Procrastinate would end its
    worker for that, with tracebacks, or leave a job that has ended as running, the storage is asked again until
    `stopping` is set. Taking a job is not repeated: it may have been taken, and only a new worker recovers that.
    """

    def __init__(self, connector: Any, slot: Slot) -> None:
        super().__init__(connector)
        self.worker: int | None = None  # the id of the registered worker
        self.stopping = asyncio.Event()
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

    async def defer_periodic_job(self, job: Job, periodic_id: str, defer_timestamp: int) -> int | None:
        defer = partial(super().defer_periodic_job, job, periodic_id, defer_timestamp)
        return await self._until_answered(defer, f"{job.task_name} waits to be queued")

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        listen = partial(super().listen_for_jobs, on_notification=on_notification, queues=queues)
        await self._until_answered(listen, "new jobs are noticed by polling alone")

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
        act = partial(
            self.connector.execute_query_all_async,
            f"SELECT ours.id, {action} FROM (SELECT id FROM procrastinate_jobs WHERE id = %(job)s"  # noqa: S608  # constants of ours
            " AND worker_id = %(worker)s AND status = 'doing' FOR UPDATE) ours",
            job=job.id, worker=job.worker_id, **values,
        )  # fmt: skip
        if not await self._until_answered(act, f"the end of job {job.id} waits to be noted"):
            logger.warning("job %s belongs to another worker by now: left as it is", job.id)

    async def _until_answered(self, action: Callable[[], Awaitable[T]], meanwhile: str) -> T:
        """Repeat an action that does no harm twice; say once, in one line, what that means `meanwhile`."""
        said = False
        while True:
            try:
                return await action()
            except ConnectorException as error:
                if not isinstance(error.__cause__, psycopg.OperationalError) or self.stopping.is_set():
                    raise
                if not said:
                    logger.warning("queue: %s; %s", str(error.__cause__).partition("\n")[0], meanwhile)
                said = True
            await asyncio.sleep(RETRY_SECONDS)
