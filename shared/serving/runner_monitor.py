"""Watches a service's own runners through the database: forwards heartbeats, replaces those that do not react."""

import logging
import math
import time
from collections.abc import Mapping
from uuid import UUID

from shared.database.pool import Connection, Pool
from shared.queue.client import HEARTBEAT_SECONDS, Queue, run_queue
from shared.queue.worker_slot import Slot
from shared.serving.runner_supervisor import Supervisor
from shared.settings import Settings
from shared.tasks import rows
from shared.tasks.rows import TaskRow
from shared.vocabulary import ServiceName, TaskKind

FORWARD_HEARTBEAT_SECONDS = 120.0  # a runner whose event loop has not turned for so long ends itself
UNRESPONSIVE_SECONDS = 3.0  # without a heartbeat, and seen so for as long again: such a runner sees no cancel

logger = logging.getLogger("bentoml.kinora.runner_monitor")


class RunnerMonitor:
    """Call `check` about once a second while the storage answers."""

    def __init__(self, service: ServiceName, settings: Settings, supervisors: Mapping[TaskKind, Supervisor]) -> None:
        self._service = service
        self._supervisors = supervisors
        version = settings.version
        self._slots = {kind: Slot(settings.state_dir, f"{run_queue(service, kind, version)}.0") for kind in supervisors}
        self._forwarded_at = -math.inf
        self._unresponsive: dict[UUID, float] = {}  # since when a cancelled run has been seen without a heartbeat

    async def check(self, pool: Pool, queue: Queue) -> None:
        """Forward heartbeats and replace unresponsive runners; raise Unavailable."""
        if time.monotonic() >= self._forwarded_at + HEARTBEAT_SECONDS:
            await self._forward_heartbeats(pool, queue)
            self._forwarded_at = time.monotonic()
        await self._replace_unresponsive(pool, queue)

    async def _forward_heartbeats(self, pool: Pool, queue: Queue) -> None:
        """Send heartbeats for runners of ours that live: on a machine under full load they get processor time last.

        Without heartbeats they would be taken for dead. None is sent for one that has noted no progress for long.
        """
        ours = {self._slots[kind].worker for kind, supervisor in self._supervisors.items() if supervisor.alive}

        async def forward(connection: Connection) -> None:
            jobs = await rows.with_recent_heartbeat(connection, self._service, FORWARD_HEARTBEAT_SECONDS)
            workers = await queue.workers(connection, jobs)
            for worker in set(workers.values()) & ours:
                await queue.send_heartbeat_for(connection, worker)

        await pool.run_with_timeout(forward)

    async def _replace_unresponsive(self, pool: Pool, queue: Queue) -> None:
        """Kill a runner of ours that is stopped or hangs, and so does not see that its task was cancelled.

        Its successor gives the task its end. A runner whose heartbeats go on once the storage is back is left alone.
        """

        async def look(connection: Connection) -> tuple[list[TaskRow], dict[int, int]]:
            found = await rows.cancelled_without_heartbeat(connection, self._service, UNRESPONSIVE_SECONDS)
            return found, await queue.workers(connection, [row.job_id for row in found if row.job_id is not None])

        found, workers = await pool.run_with_timeout(look)
        now = time.monotonic()
        self._unresponsive = {row.id: self._unresponsive.get(row.id, now) for row in found}
        for row in found:
            if self._is_ours(row, workers) and now - self._unresponsive[row.id] >= UNRESPONSIVE_SECONDS:
                logger.error(
                    "the runner of task %s does not react to its cancel: killed",
                    row.task_id,
                    extra={"task_id": row.task_id, "kind": row.kind},
                )
                self._supervisors[row.kind].replace()
                self._unresponsive[row.id] = math.inf  # once: its successor needs time to begin

    def _is_ours(self, row: TaskRow, workers: Mapping[int, int]) -> bool:
        """Whether the worker that holds a run's job is one of this service's own runners."""
        worker = self._slots[row.kind].worker if row.kind in self._slots else None
        return worker is not None and row.job_id is not None and workers.get(row.job_id) == worker
