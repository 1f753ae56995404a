"""Tasks as the task list shows them: the newest run of each, with its queue position and the expected time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shared.contract.messages import Callback, CallbackView, TaskView
from shared.database.pool import Connection
from shared.tasks import segments
from shared.tasks.queue_estimate import QueueEstimate
from shared.tasks.rows import COLUMNS, TaskRow
from shared.vocabulary import ServiceName, TaskState

NEWEST = f"""
    SELECT {COLUMNS} FROM kinora_tasks
    WHERE service = %(service)s AND newest
        AND (%(task_id)s::bigint IS NULL OR task_id = %(task_id)s)
        AND (%(state)s::text IS NULL OR state = %(state)s)
    ORDER BY created_at DESC LIMIT %(limit)s
"""  # noqa: S608  # a constant of ours


async def newest_runs(
    connection: Connection, service: ServiceName, *, task_id: int | None, state: TaskState | None, limit: int
) -> list[TaskView]:
    """Return the newest run of each job and preview, newest first."""
    cursor = await connection.execute(NEWEST, {"service": service, "task_id": task_id, "state": state, "limit": limit})
    return await shown(connection, service, [TaskRow(**row) for row in await cursor.fetchall()])


async def shown(connection: Connection, service: ServiceName, rows: Sequence[TaskRow]) -> list[TaskView]:
    """Return runs of one service as lists show them, in the same order."""
    deliveries = await _deliveries(connection, rows)
    estimates = {
        kind: await QueueEstimate.read(connection, service, kind, [row.id for row in rows if row.state == "queued"])
        for kind in {row.kind for row in rows if row.active}
    }
    made = await segments.summaries(connection, [row for row in rows if row.active])
    rows = [replace(row, details=row.details | {"segments": made[row.id]}) if row.id in made else row for row in rows]
    return [_view(row, deliveries.get(row.id, CallbackView()), estimates.get(row.kind)) for row in rows]


async def _deliveries(connection: Connection, rows: Sequence[TaskRow]) -> dict[Any, CallbackView]:
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
    eta = estimate.eta_seconds(row.id) if estimate and row.active else None
    return TaskView(
        id=str(row.id),
        service=row.service,
        kind=row.kind,
        task_id=row.task_id,
        state=row.state,
        progress=round(row.progress, 4),
        queue_position=estimate.position(row.id) if estimate else None,
        eta_seconds=None if eta is None else round(eta, 1),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempt=row.attempt,
        result=None if row.result is None else Callback.model_validate(row.result),
        callback=callback,
        details=row.details,
    )
