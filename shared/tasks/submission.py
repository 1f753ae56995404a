"""Queueing a run: its row and the job that gives the row to a runner, written in one transaction of the caller."""

from typing import Any
from uuid import UUID

from shared.database.pool import Connection
from shared.queue.client import Queue
from shared.tasks import rows
from shared.vocabulary import ServiceName, TaskKind


async def enqueue(
    connection: Connection,
    queue: Queue,
    *,
    service: ServiceName,
    kind: TaskKind,
    task_id: int,
    fingerprint: str,
    request: dict[str, Any],
    context: dict[str, Any],
    version: str,
    details: dict[str, Any] | None = None,
    traceparent: str | None = None,
) -> UUID:
    """Write a new row with its job, for the runners of `version`; return the row's id."""
    row = await rows.insert(
        connection, service=service, kind=kind, task_id=task_id, fingerprint=fingerprint, request=request,
        context=context, version=version, details=details, traceparent=traceparent,
    )  # fmt: skip
    await enqueue_job(connection, queue, row, service=service, kind=kind, version=version)
    return row


async def enqueue_job(
    connection: Connection, queue: Queue, row: UUID, *, service: ServiceName, kind: TaskKind, version: str
) -> None:
    """Queue a job for a row that has none, or whose job was lost."""
    await rows.note_job(connection, row, await queue.defer_run(connection, service, kind, version, row))
