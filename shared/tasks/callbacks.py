"""Callbacks: the messages to the backend, each stored in the same transaction as the result that it reports.

The body and its idempotency key are fixed when the task ends. Sending it is a queued job of its own;
the row says whether it was delivered, and is never deleted before its task.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

from shared.contract.messages import Callback
from shared.database.pool import Connection
from shared.errors import Problem
from shared.queue.client import Queue
from shared.tasks import rows
from shared.tasks.rows import TaskRow
from shared.vocabulary import CallbackState, Language, ServiceName, TaskKind, TaskState


@dataclass(frozen=True)
class StoredCallback:
    """A stored callback and the state of its delivery."""

    id: UUID
    task: UUID
    body: str
    state: CallbackState
    attempts: int
    since: datetime
    created_at: datetime
    next_at: datetime | None
    delivered_at: datetime | None
    last_error: str | None


COLUMNS = "id, task, body, state, attempts, since, created_at, next_at, delivered_at, last_error"


async def enqueue_callback(connection: Connection, queue: Queue, row: TaskRow) -> UUID:
    """Store a new callback for an ended task and queue its delivery, inside the caller's transaction."""
    key = uuid4()
    body = Callback.model_validate(row.result).model_dump_json()
    job = await queue.defer_callback(connection, key)
    await connection.execute(
        "INSERT INTO kinora_callbacks (id, task, body, job_id, next_at) VALUES (%s, %s, %s, %s, now())",
        (key, row.id, body, job),
    )
    return key


async def finish_task(
    connection: Connection,
    queue: Queue,
    row: TaskRow,
    state: TaskState,
    body: Callback,
    *,
    details: dict[str, Any] | None = None,
    artifact: dict[str, Any] | None = None,
    artifact_key: str | None = None,
) -> bool:
    """End a task and queue its callback, in the caller's transaction; False when it had already ended."""
    ended = await rows.end(
        connection, row, state, body.model_dump(), details=details, artifact=artifact, artifact_key=artifact_key
    )  # fmt: skip
    if ended:
        await enqueue_callback(connection, queue, ended)
    return ended is not None


def failure(row: TaskRow, problem: Problem, language: Language) -> Callback:
    """Return the callback of a task that ends without a result."""
    return Callback(task_id=row.task_id, err_code=-1, err_msg=problem.sentence(language))


async def replay(connection: Connection, queue: Queue, key: UUID) -> bool:
    """Send a stored callback again under its own key, now and for three more days; False when there is none."""
    cursor = await connection.execute("SELECT job_id FROM kinora_callbacks WHERE id = %s FOR UPDATE", (key,))
    found = await cursor.fetchone()
    if not found:
        return False
    job = found["job_id"]
    await queue.drop(connection, job)
    if job is None or await queue.lost(connection, [job]):  # else it is being sent now, and is retried if that fails
        job = await queue.defer_callback(connection, key)
    await connection.execute(
        "UPDATE kinora_callbacks SET state = 'pending', since = now(), next_at = now(), attempts = 0, job_id = %s"
        " WHERE id = %s",
        (job, key),
    )
    return True


async def listed(connection: Connection, state: CallbackState | None, limit: int) -> list[StoredCallback]:
    """Return stored callbacks, newest first."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM kinora_callbacks WHERE %s::text IS NULL OR state = %s"  # noqa: S608  # constants of ours
        " ORDER BY created_at DESC LIMIT %s",
        (state, state, limit),
    )
    return [StoredCallback(**row) for row in await cursor.fetchall()]


async def untaken(connection: Connection, service: ServiceName, kind: TaskKind, task_id: int) -> int:
    """Count the callbacks about one task that the backend has not taken yet."""
    cursor = await connection.execute(
        "SELECT count(*) FROM kinora_callbacks AS callback JOIN kinora_tasks AS run ON run.id = callback.task"
        " WHERE run.service = %s AND run.kind = %s AND run.task_id = %s AND callback.state = 'pending'",
        (service, kind, task_id),
    )
    return int((await cursor.fetchone() or {"count": 0})["count"])


async def send_others(connection: Connection, queue: Queue) -> int:
    """Send now what found no receiver earlier: it has just taken another callback. Return how many there were."""
    return await _bring_forward(connection, queue, "", None)


async def probe_receiver(connection: Connection, queue: Queue, seconds: float) -> int:
    """Send one of the callbacks that found no receiver, if none was tried for `seconds`; return how many were sent.

    So a receiver's return is noticed although every single callback waits for minutes.
    """
    cursor = await connection.execute(
        "SELECT max(away_at) < now() - make_interval(secs => %s) AS quiet FROM kinora_callbacks"
        " WHERE state = 'pending' AND away_at IS NOT NULL",
        (seconds,),
    )
    quiet = (await cursor.fetchone() or {"quiet": None})["quiet"]
    return await _bring_forward(connection, queue, "ORDER BY away_at", 1) if quiet else 0


async def _bring_forward(connection: Connection, queue: Queue, order: LiteralString, limit: int | None) -> int:
    cursor = await connection.execute(
        "UPDATE kinora_callbacks SET next_at = now() WHERE id IN (SELECT id FROM kinora_callbacks"  # noqa: S608  # constants of ours
        f" WHERE state = 'pending' AND away_at IS NOT NULL AND next_at > now() {order} LIMIT %s"
        " FOR UPDATE SKIP LOCKED) RETURNING job_id",
        (limit,),
    )
    jobs = [row["job_id"] for row in await cursor.fetchall()]
    if jobs:
        await queue.bring_forward(connection, jobs)
    return len(jobs)


async def parked(connection: Connection) -> list[UUID]:
    """Return the keys of all parked callbacks, oldest first."""
    cursor = await connection.execute("SELECT id FROM kinora_callbacks WHERE state = 'parked' ORDER BY created_at")
    return [row["id"] for row in await cursor.fetchall()]


async def requeue_orphaned(connection: Connection, queue: Queue) -> int:
    """Queue the pending callbacks that have no job; return how many there were."""
    cursor = await connection.execute(
        "SELECT id, job_id FROM kinora_callbacks WHERE state = 'pending' AND next_at < now() - interval '1 minute'"
        " FOR UPDATE SKIP LOCKED"
    )
    late = {row["job_id"]: row["id"] for row in await cursor.fetchall()}
    gone = await queue.lost(connection, [job for job in late if job is not None])
    orphans = [key for job, key in late.items() if job is None or job in gone]
    for key in orphans:
        job = await queue.defer_callback(connection, key)
        await connection.execute("UPDATE kinora_callbacks SET job_id = %s WHERE id = %s", (job, key))
    return len(orphans)
