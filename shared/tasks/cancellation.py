"""Cancelling tasks: those that wait end at once, those that run are asked to stop."""

from shared.database.pool import Connection
from shared.errors import JobFailed
from shared.queue.client import Queue
from shared.tasks import callbacks, rows
from shared.tasks.rows import TaskRow
from shared.vocabulary import Language, ServiceName, TaskKind


async def cancel_all(
    connection: Connection,
    queue: Queue,
    service: ServiceName,
    task_id: int,
    language: Language,
    *,
    kind: TaskKind | None = None,
    row: str | None = None,
) -> list[TaskRow]:
    """Cancel every queued or running match inside the caller's transaction; return them as they were."""
    matches = await rows.active(connection, service, task_id, kind=kind, row=row)
    for found in matches:
        if found.state == "running":
            await rows.ask_to_stop(connection, found.id)
        else:
            await end_waiting(connection, queue, found, JobFailed("cancelled"), language)
    return matches


async def end_waiting(
    connection: Connection, queue: Queue, row: TaskRow, problem: JobFailed, language: Language
) -> None:
    """Take a waiting task out of the queue and end it as cancelled, with its callback."""
    await queue.drop(connection, row.job_id)
    await callbacks.finish_task(connection, queue, row, "cancelled", callbacks.failure(row, problem, language))
