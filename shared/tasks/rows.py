"""Task rows: one row a run of a task, from its acceptance to its end. SQL only; every function gets a connection.

A row's `attempt` is its fence. Its runner got the number from `claim`, and every later write names it: a runner that
was taken for dead can change nothing once its successor has claimed the row.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Json, Jsonb

from shared.database.pool import Connection
from shared.tracing.traceparent import TraceParent
from shared.vocabulary import ServiceName, TaskKind, TaskState

ACTIVE: tuple[TaskState, ...] = ("queued", "running")


@dataclass(frozen=True)
class TaskRow:
    """One run of one task, as it is in the database."""

    id: UUID
    service: ServiceName
    kind: TaskKind
    task_id: int
    fingerprint: str
    request: dict[str, Any]
    context: dict[str, Any]
    state: TaskState
    cancel: bool
    progress: float
    pace: float
    attempt: int
    crashes: int
    job_id: int | None
    version: str
    runs_on: str | None
    created_at: datetime
    started_at: datetime | None
    resumed_at: datetime | None
    finished_at: datetime | None
    result: dict[str, Any] | None
    details: dict[str, Any]
    beat_at: datetime | None = None  # the last heartbeat of its attempt
    requeued_at: datetime | None = None  # when it last began to wait again
    traceparent: str | None = None  # where in a trace it was accepted

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def trace_id(self) -> str | None:
        place = TraceParent.read(self.traceparent)
        return place.trace_id if place else None

    @property
    def mark(self) -> str:
        """What the names of all files of this run begin with: `{task_id}_{service}_{token}-`, before the attempt."""
        return f"{self.task_id}_{self.service}_{self.id.hex[:8]}-"


COLUMNS = ", ".join(field.name for field in fields(TaskRow))


async def lock_service(connection: Connection, service: ServiceName) -> None:
    """Let one acceptance of a service run at a time until the transaction ends: counts and repeats are then exact."""
    await connection.execute("SELECT set_config('lock_timeout', '5s', true)")
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"kinora.{service}",))


async def insert(
    connection: Connection,
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
    """Write a queued row, for the runners of the version that accepts it, and return its id."""
    row = uuid4()
    await connection.execute(
        "INSERT INTO kinora_tasks"
        " (id, service, kind, task_id, fingerprint, request, context, version, runs_on, details, traceparent)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (row, service, kind, task_id, fingerprint, Jsonb(request), Jsonb(storable(context)), version, version,
         Jsonb(storable(details or {})), traceparent),
    )  # fmt: skip
    return row


async def note_job(connection: Connection, row: UUID, job_id: int) -> None:
    await connection.execute("UPDATE kinora_tasks SET job_id = %s WHERE id = %s", (job_id, row))


async def note_version(connection: Connection, row: UUID, version: str) -> None:
    """Let the runners of another version take a row; the version that accepted it stays recorded."""
    await connection.execute("UPDATE kinora_tasks SET runs_on = %s WHERE id = %s", (version, row))


async def read(connection: Connection, row: UUID, *, lock: bool = False) -> TaskRow | None:
    """Return one row, locked until the transaction ends if asked for."""
    found = await _select(connection, f"WHERE id = %s {'FOR UPDATE' if lock else ''}", row)
    return found[0] if found else None


async def active(
    connection: Connection, service: ServiceName, task_id: int, *, kind: TaskKind | None = None, row: str | None = None
) -> list[TaskRow]:
    """Return and lock the queued and running rows of a task."""
    return await _select(
        connection,
        "WHERE service = %s AND task_id = %s AND state IN ('queued', 'running')"
        " AND (%s::text IS NULL OR kind = %s) AND (%s::uuid IS NULL OR id = %s) ORDER BY created_at FOR UPDATE",
        service, task_id, kind, kind, row, row,
    )  # fmt: skip


async def newest_of(
    connection: Connection, service: ServiceName, kind: TaskKind, task_id: int, fingerprint: str
) -> TaskRow | None:
    """Return the newest run of exactly this body."""
    found = await _select(
        connection,
        "WHERE service = %s AND kind = %s AND task_id = %s AND fingerprint = %s ORDER BY created_at DESC LIMIT 1",
        service, kind, task_id, fingerprint,
    )  # fmt: skip
    return found[0] if found else None


async def waiting(connection: Connection, service: ServiceName, kind: TaskKind) -> int:
    """Count the queued rows."""
    cursor = await connection.execute(
        "SELECT count(*) FROM kinora_tasks WHERE service = %s AND kind = %s AND state = 'queued'", (service, kind)
    )
    return int((await cursor.fetchone() or {"count": 0})["count"])


async def claim(connection: Connection, row: UUID, *, loads: bool = False) -> TaskRow | None:
    """Begin an attempt: the row gets its next number and is running. None unless it waits and is not cancelled.

    `loads`: the attempt begins with loading the model, which is expected to take what it took last.
    """
    return await _update(
        connection,
        "SET state = 'running', attempt = attempt + 1, pace = 0, started_at = COALESCE(started_at, now()),"
        " resumed_at = now(), beat_at = now(), load_seconds = CASE WHEN %s THEN (SELECT known.load_seconds"
        " FROM kinora_versions known WHERE (known.service, known.kind) = (kinora_tasks.service, kinora_tasks.kind)"
        " AND known.load_seconds IS NOT NULL ORDER BY known.version = kinora_tasks.runs_on DESC, known.started_at DESC"
        " LIMIT 1) END WHERE id = %s AND state = 'queued' AND NOT cancel",
        loads, row,
    )  # fmt: skip


async def note_load(connection: Connection, row: TaskRow, seconds: float) -> None:
    """Note how much of an attempt went to loading its model."""
    await connection.execute(
        "UPDATE kinora_tasks SET load_seconds = %s WHERE id = %s AND attempt = %s", (seconds, row.id, row.attempt)
    )


async def record_heartbeat(
    connection: Connection,
    row: TaskRow,
    progress: float,
    pace: float | None = None,
    details: Mapping[str, Any] | None = None,
) -> TaskRow | None:
    """Record the progress and the heartbeat of an attempt; None when it lost its fence. Shown progress never falls.

    `pace` is what this attempt has done of what was left to it, all of `progress` where it began at 0; `details`
    replace those that are shown.
    """
    return await _update(
        connection,
        # Half a second may get lost. In the same statement: no other is sent as often, and each is a way to the server.
        "SET pace = %s, progress = GREATEST(progress, %s), beat_at = now(), details = COALESCE(%s, details)"
        " FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unsynced"
        " WHERE id = %s AND attempt = %s AND state = 'running'",
        progress if pace is None else pace, progress,
        None if details is None else Jsonb(storable(dict(details))), row.id, row.attempt,
    )  # fmt: skip


async def end(
    connection: Connection,
    row: TaskRow,
    state: TaskState,
    result: dict[str, Any],
    *,
    details: dict[str, Any] | None = None,
    artifact: dict[str, Any] | None = None,
    artifact_key: str | None = None,
) -> TaskRow | None:
    """End an active row; None when it had already ended. From then on its runner, if it has one, is fenced."""
    return await _update(
        connection,
        "SET state = %s, progress = CASE %s WHEN 'succeeded' THEN 1 ELSE progress END, finished_at = now(),"
        " result = %s, details = COALESCE(%s, details), memo = %s, memo_key = %s"
        " WHERE id = %s AND state IN ('queued', 'running')",
        state, state, Json(result), None if details is None else Jsonb(storable(details)),
        None if artifact is None else Jsonb(storable(artifact)), artifact_key, row.id,
    )  # fmt: skip


async def requeue(connection: Connection, row: UUID, *, attempt: int | None = None, crashed: bool) -> TaskRow | None:
    """Put a running row back among the waiting ones; None when it was not running (under that attempt)."""
    return await _update(
        connection,
        "SET state = 'queued', requeued_at = now(), crashes = crashes + %s WHERE id = %s AND state = 'running'"
        " AND (%s::int IS NULL OR attempt = %s)",
        int(crashed), row, attempt, attempt,
    )  # fmt: skip


async def ask_to_stop(connection: Connection, row: UUID) -> None:
    """Ask the runner of a row to stop; it sees that at its next heartbeat."""
    await connection.execute("UPDATE kinora_tasks SET cancel = true WHERE id = %s", (row,))


async def running(connection: Connection, rows: Collection[UUID]) -> set[UUID]:
    """Return those of the rows that are running, on any host."""
    cursor = await connection.execute(
        "SELECT id FROM kinora_tasks WHERE id = ANY(%s) AND state = 'running'", (list(rows),)
    )
    return {row["id"] for row in await cursor.fetchall()}


async def stalled(connection: Connection, seconds: float) -> list[TaskRow]:
    """Return active rows that were accepted long ago and have sent no heartbeat since."""
    return await _select(
        connection,
        "WHERE state IN ('queued', 'running')"
        " AND COALESCE(beat_at, created_at) < now() - make_interval(secs => %s) ORDER BY job_id",
        seconds,
    )


async def with_recent_heartbeat(connection: Connection, service: ServiceName, seconds: float) -> list[int]:
    """Return the jobs of the runs that sent a heartbeat lately."""
    cursor = await connection.execute(
        "SELECT job_id FROM kinora_tasks WHERE service = %s AND state = 'running' AND job_id IS NOT NULL"
        " AND beat_at > now() - make_interval(secs => %s)",
        (service, seconds),
    )
    return [row["job_id"] for row in await cursor.fetchall()]


async def cancelled_without_heartbeat(connection: Connection, service: ServiceName, seconds: float) -> list[TaskRow]:
    """Return the cancelled runs that have not stopped and sent no heartbeat lately."""
    return await _select(
        connection,
        "WHERE service = %s AND state = 'running' AND cancel AND beat_at < now() - make_interval(secs => %s)",
        service, seconds,
    )  # fmt: skip


async def newest_artifact(
    connection: Connection, service: ServiceName, key: str, task_id: int | None
) -> dict[str, Any] | None:
    """Return the artifact of the newest succeeded run under this key, of one task or of any."""
    cursor = await connection.execute(
        "SELECT memo FROM kinora_tasks WHERE service = %s AND memo_key = %s AND memo IS NOT NULL"
        " AND state = 'succeeded' AND (%s::bigint IS NULL OR task_id = %s) ORDER BY finished_at DESC LIMIT 1",
        (service, key, task_id, task_id),
    )
    found = await cursor.fetchone()
    return found["memo"] if found else None


async def purge(connection: Connection, *, keep_days: float, faces_keep_days: float) -> tuple[int, int]:
    """Delete old records, and earlier the faces in them; return how many of each.

    A record whose callback has not arrived stays, parked or not. Records are locked before their callbacks are looked
    at: a repost that queues one again is either seen here, or comes too late and makes a new record.
    """
    faces = await connection.execute(
        "UPDATE kinora_tasks SET memo = NULL, context = '{}' WHERE (memo IS NOT NULL OR context <> '{}')"
        " AND finished_at < now() - make_interval(secs => %s)",
        (faces_keep_days * 86400,),
    )
    old = await connection.execute(
        "SELECT id FROM kinora_tasks WHERE finished_at < now() - make_interval(secs => %s) FOR UPDATE SKIP LOCKED",
        (keep_days * 86400,),
    )
    records = await connection.execute(
        "DELETE FROM kinora_tasks t WHERE id = ANY(%s) AND NOT EXISTS"
        " (SELECT 1 FROM kinora_callbacks c WHERE c.task = t.id AND c.state <> 'delivered')",
        ([row["id"] for row in await old.fetchall()],),
    )
    return records.rowcount, faces.rowcount


def storable(value: Any) -> Any:
    """Return what PostgreSQL's jsonb can hold: no NaN, no NUL, no unpaired surrogate, nothing that is not JSON."""
    match value:
        case dict():
            return {storable(str(key)): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value.replace("\0", "").encode("utf-8", "backslashreplace").decode()
        case None | bool() | int():
            return value
    return storable(
        value.tolist() if hasattr(value, "tolist") else str(value)
    )  # NumPy's numbers and arrays, and others


async def _select(connection: Connection, clause: str, *values: object) -> list[TaskRow]:
    cursor = await connection.execute(f"SELECT {COLUMNS} FROM kinora_tasks {clause}", values)  # noqa: S608  # clauses of this file only
    return [TaskRow(**row) for row in await cursor.fetchall()]


async def _update(connection: Connection, clause: str, *values: object) -> TaskRow | None:
    cursor = await connection.execute(
        f"UPDATE kinora_tasks {clause} RETURNING {COLUMNS}", values
    )  # clauses of this file only
    row = await cursor.fetchone()
    return TaskRow(**row) if row else None
