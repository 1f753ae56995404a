"""What the console asks of one service: records of tasks out of the storage, and the state of process and machine."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from shared.contract.messages import Answer
from shared.database.pool import Connection, Pool
from shared.errors import Rejected, Unavailable
from shared.metrics import task_queries
from shared.metrics.service_metrics import ServiceMetrics, resident_bytes
from shared.queue.client import Queue
from shared.serving.runner_supervisor import Supervisor
from shared.serving.turns import Turns
from shared.settings import Settings
from shared.tasks import callbacks, records
from shared.tasks.records import RecordQuery
from shared.vocabulary import ServiceName, TaskKind, TaskState

MOST_RUNNING = 50  # of the tasks that a service's state shows


class TaskRecords:
    """The records of one service. `storage` raises Unavailable while there is none, and so does every question."""

    def __init__(
        self,
        service: ServiceName,
        settings: Settings,
        *,
        storage: Callable[[], tuple[Pool, Queue]],
        turns: Turns,
        metrics: ServiceMetrics,
        supervisors: Mapping[TaskKind, Supervisor],
        ready: Callable[[], bool],
    ) -> None:
        self._service = service
        self._settings = settings
        self._storage = storage
        self._turns = turns
        self._metrics = metrics
        self._supervisors = supervisors
        self._ready = ready

    async def page(
        self,
        *,
        kind: TaskKind | None = None,
        state: TaskState | None = None,
        task_id: int | None = None,
        words: str = "",
        before: tuple[datetime, str] | None = None,
        limit: int = 50,
    ) -> Sequence[dict[str, Any]]:
        """Return a page of the newest run of each job, newest first."""
        query = RecordQuery(kind, state, task_id, words, before, limit)
        pool, _ = self._storage()
        return await self._turns.run(pool, partial(records.page, service=self._service, query=query), snapshot=True)

    async def full(
        self, task_id: int, *, kind: TaskKind | None = None, run: str | None = None
    ) -> Sequence[dict[str, Any]]:
        """Return everything about the newest run of each job of a task, or about one run."""
        pool, _ = self._storage()
        return await self._turns.run(
            pool, partial(records.full, service=self._service, task_id=task_id, kind=kind, run=run), snapshot=True
        )

    async def changed(self, seconds: float) -> Sequence[dict[str, Any]]:
        """Return what is active, and what ended or whose callback was tried within so many seconds."""
        pool, _ = self._storage()
        return await self._turns.run(
            pool, partial(records.changed, service=self._service, seconds=seconds), snapshot=True
        )

    async def replay(self, task_id: int, *, kind: TaskKind | None = None, run: str | None = None) -> Answer:
        """Send the newest callback of a task's newest run once more, or of one run; raise Rejected where none is."""
        pool, queue = self._storage()

        async def send(connection: Connection) -> bool:
            found = await records.find(connection, self._service, task_id, kind=kind, run=run)
            key = await records.newest_callback(connection, found[0].id) if found else None
            return key is not None and await callbacks.replay(connection, queue, key)

        if not await self._turns.run(pool, send):
            raise Rejected("callback_unknown", task_id=task_id)
        return Answer()

    async def status(self) -> dict[str, Any]:
        """Return runners, queues, running tasks, callbacks that wait, GPUs and disks; what cannot be read is empty."""
        runners = [
            {
                "kind": kind,
                "alive": supervisor.alive,
                "restarts": supervisor.restarts,
                "pid": supervisor.pid,
                "resident_bytes": round(resident_bytes(pid)) if (pid := supervisor.pid) else None,
            }
            for kind, supervisor in self._supervisors.items()
        ]
        try:
            pool, _ = self._storage()
            stored = await self._turns.run(pool, self._stored, snapshot=True)
        except Unavailable:
            stored = {"queues": [], "running": [], "callbacks": []}
        machine = await self._metrics.machine()
        about = {"service": self._service, "version": self._settings.version, "ready": self._ready()}
        return {**about, "runners": runners, **stored, **machine}

    async def _stored(self, connection: Connection) -> dict[str, Any]:
        queues = await task_queries.queue_depths(connection, self._service)
        undelivered = await task_queries.undelivered(connection, self._service)
        running = await connection.execute(
            "SELECT id, task_id, kind, progress, attempt FROM kinora_tasks"
            " WHERE service = %s AND state = 'running' ORDER BY started_at LIMIT %s",
            (self._service, MOST_RUNNING),
        )
        return {
            "queues": [vars(queue) for queue in queues],
            "running": await running.fetchall(),
            "callbacks": [vars(waiting) for waiting in undelivered],
        }
