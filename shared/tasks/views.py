"""Tasks as the task list shows them: the newest run of each, with its queue position and the expected time."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared.contract.messages import Callback, CallbackView, TaskView
from shared.database.pool import Connection
from shared.tasks import segments
from shared.tasks.rows import COLUMNS, TaskRow
from shared.vocabulary import ServiceName, TaskKind, TaskState

SAMPLE = 20  # runs whose duration predicts the next one's
TELLING_PACE = 0.01  # below this progress a running task's own rate is not used

# A generation is one job a task; a preview is one job a body.
NEWEST = f"""
    SELECT {COLUMNS} FROM kinora_tasks run
    WHERE service = %(service)s
        AND (%(task_id)s::bigint IS NULL OR task_id = %(task_id)s)
        AND (%(state)s::text IS NULL OR state = %(state)s)
        AND NOT EXISTS (
            SELECT 1 FROM kinora_tasks newer
            WHERE newer.service = run.service AND newer.task_id = run.task_id AND newer.kind = run.kind
                AND (run.kind = 'generate' OR newer.fingerprint = run.fingerprint)
                AND newer.created_at > run.created_at
        )
    ORDER BY created_at DESC LIMIT %(limit)s
"""  # noqa: S608  # a constant of ours

TYPICAL = """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds FROM (
        SELECT extract(epoch FROM finished_at - resumed_at) AS seconds FROM kinora_tasks
        WHERE service = %s AND kind = %s AND state = 'succeeded' ORDER BY created_at DESC LIMIT %s
    ) recent
"""


async def newest_runs(
    connection: Connection, service: ServiceName, *, task_id: int | None, state: TaskState | None, limit: int
) -> list[TaskView]:
    """Return the newest run of each job and preview, newest first."""
    cursor = await connection.execute(NEWEST, {"service": service, "task_id": task_id, "state": state, "limit": limit})
    rows = [TaskRow(**row) for row in await cursor.fetchall()]
    deliveries = await _deliveries(connection, rows)
    estimates = {
        kind: await QueueEstimate.read(connection, service, kind) for kind in {row.kind for row in rows if row.active}
    }
    made = await segments.summaries(connection, [row for row in rows if row.active])
    rows = [replace(row, details=row.details | {"segments": made[row.id]}) if row.id in made else row for row in rows]
    return [_view(row, deliveries.get(row.id, CallbackView()), estimates.get(row.kind)) for row in rows]


class QueueEstimate:
    """The waiting and running tasks of one kind, and the usual duration of a run. Each version has its own queue."""

    def __init__(self, rows: list[TaskRow], typical_seconds: float | None, now: datetime) -> None:
        self._typical = typical_seconds
        self._now = now
        self._queued = [row for row in rows if row.state == "queued"]
        self._running = [row for row in rows if row.state == "running"]

    @classmethod
    async def read(cls, connection: Connection, service: ServiceName, kind: TaskKind) -> "QueueEstimate":
        cursor = await connection.execute(
            f"SELECT {COLUMNS} FROM kinora_tasks WHERE service = %s AND kind = %s"  # noqa: S608
            " AND state IN ('queued', 'running') ORDER BY job_id",
            (service, kind),
        )
        rows = [TaskRow(**row) for row in await cursor.fetchall()]
        cursor = await connection.execute(TYPICAL, (service, kind, SAMPLE))
        typical = (await cursor.fetchone() or {}).get("seconds")
        return cls(rows, None if typical is None else float(typical), datetime.now(UTC))

    def position(self, row: TaskRow) -> int | None:
        """1 is the next to run; None for a task that does not wait."""
        queue = [waiting.id for waiting in self._queued if waiting.runs_on == row.runs_on]
        return queue.index(row.id) + 1 if row.id in queue else None

    def eta_seconds(self, row: TaskRow) -> float | None:
        """Return when this task will be done, from rates that were measured; None when there are none yet."""
        if row.state == "running":
            return self._remaining(row)
        position = self.position(row)
        rest = [self._remaining(running) for running in self._running if running.runs_on == row.runs_on]
        if position is None or self._typical is None or None in rest:
            return None
        return sum(seconds for seconds in rest if seconds) / max(1, len(rest)) + position * self._typical / max(
            1, len(rest)
        )

    def _remaining(self, row: TaskRow) -> float | None:
        elapsed = (self._now - row.resumed_at).total_seconds() if row.resumed_at else 0.0
        if row.pace > TELLING_PACE:
            return elapsed * (1 - row.pace) / row.pace
        return None if self._typical is None else max(0.0, self._typical - elapsed)


async def _deliveries(connection: Connection, rows: list[TaskRow]) -> dict[Any, CallbackView]:
    cursor = await connection.execute(
        "SELECT DISTINCT ON (task) task, state, attempts, next_at FROM kinora_callbacks WHERE task = ANY(%s)"
        " ORDER BY task, created_at DESC",
        ([row.id for row in rows],),
    )
    return {
        found["task"]: CallbackView(state=found["state"], attempts=found["attempts"], next_at=found["next_at"])
        for found in await cursor.fetchall()
    }


def _view(row: TaskRow, callback: CallbackView, estimate: QueueEstimate | None) -> TaskView:
    eta = estimate.eta_seconds(row) if estimate and row.active else None
    return TaskView(
        id=str(row.id),
        service=row.service,
        kind=row.kind,
        task_id=row.task_id,
        state=row.state,
        progress=round(row.progress, 4),
        queue_position=estimate.position(row) if estimate else None,
        eta_seconds=None if eta is None else round(eta, 1),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempt=row.attempt,
        result=None if row.result is None else Callback.model_validate(row.result),
        callback=callback,
        details=row.details,
    )
