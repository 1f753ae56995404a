"""Heartbeats in the database: which versions have runners, or a service that expects them, and since when the storage
has been watched.

SQL only. Many processes send heartbeats and check those of others; one of them at a time writes the rows that they
share, and none waits for them: a machine that was cut off in the middle of a check must not block the others.
"""

from dataclasses import dataclass
from uuid import UUID

from shared.database.pool import Connection
from shared.queue.client import HEARTBEAT_SECONDS, STALLED_SECONDS
from shared.vocabulary import ServiceName, TaskKind

ABANDONED_SECONDS = 60.0  # without a live runner of their version, waiting tasks go to the newest that has one
AWAITED_SECONDS = 900.0  # how long the tasks of a service whose runners start elsewhere wait for the first one
FRESH_SECONDS = HEARTBEAT_SECONDS / 2  # a heartbeat so recent need not be written again
# During an outage of the storage no heartbeat arrives. Live workers send one within a few seconds of its end, so an
# outage shorter than this fits into STALLED_SECONDS, with the heartbeat before it and the reconnection after it.
UNWATCHED_SECONDS = 13.0
LOCK_RELEASE_SECONDS = 5.0  # after which a client that was cut off in the middle of a heartbeat loses its locks


@dataclass(frozen=True)
class Orphan:
    """A waiting task whose version no longer has runners, and the version that takes it."""

    row: UUID
    job_id: int
    service: ServiceName
    kind: TaskKind
    task_id: int
    successor_version: str


async def use_async_commit(connection: Connection) -> None:
    """Set up the transaction for a heartbeat: losing it does no harm, and its locks must not outlive the client."""
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'off', true),"
        " set_config('idle_in_transaction_session_timeout', %s, true)",
        (f"{LOCK_RELEASE_SECONDS:g}s",),
    )


async def record(connection: Connection, service: ServiceName, kind: str, version: str) -> None:
    """Record that a runner of this version lives and takes tasks; of a thousand runners only one at a time writes."""
    updated = await connection.execute(
        "UPDATE kinora_versions SET beat_at = now() WHERE (service, kind, version) IN (SELECT service, kind, version"
        " FROM kinora_versions WHERE service = %s AND kind = %s AND version = %s"
        " AND beat_at < now() - make_interval(secs => %s) FOR UPDATE SKIP LOCKED)",
        (service, kind, version, FRESH_SECONDS),
    )
    if not updated.rowcount:
        await connection.execute(
            "INSERT INTO kinora_versions (service, kind, version) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (service, kind, version),
        )


async def record_face(connection: Connection, service: ServiceName, kind: str, version: str) -> None:
    """Record that a service of this version takes tasks, and that its runners start elsewhere when there are some."""
    await connection.execute(
        "INSERT INTO kinora_versions AS known (service, kind, version, beat_at, face_at)"
        " VALUES (%s, %s, %s, 'epoch', now()) ON CONFLICT (service, kind, version) DO UPDATE SET face_at = now()"
        " WHERE known.face_at IS NULL OR known.face_at < now() - make_interval(secs => %s)",
        (service, kind, version, FRESH_SECONDS),
    )


async def is_watched(connection: Connection) -> bool:
    """Note that the storage can be reached; True, for one caller at a time, if missing heartbeats now mean death.

    That is so when some process could reach it all the time for `STALLED_SECONDS`: a live worker has sent a heartbeat.
    Ask for stalled workers in the same transaction, whose `now()` is the time of this check.
    """
    cursor = await connection.execute(
        "UPDATE kinora_watch SET seen = now(),"
        " since = CASE WHEN seen < now() - make_interval(secs => %s) THEN now() ELSE since END"
        " WHERE one IN (SELECT one FROM kinora_watch WHERE seen < now() - make_interval(secs => %s)"
        " FOR UPDATE SKIP LOCKED) RETURNING since < now() - make_interval(secs => %s) AS long",
        (UNWATCHED_SECONDS, FRESH_SECONDS, STALLED_SECONDS),
    )
    found = await cursor.fetchone()
    return found is not None and bool(found["long"])


async def orphans(connection: Connection) -> list[Orphan]:
    """Return and lock the waiting tasks of versions without runners, with the newest other version that may take them.

    The newest is the one that was seen for the first time last: after a rollback only the older one has runners.
    A version whose service expects runners to start keeps its tasks for longer, and may take those of one that has
    neither: what waits for it has runners started.
    """
    cursor = await connection.execute(
        "SELECT task.id AS row, task.job_id, task.service, task.kind, task.task_id,"
        " successor.version AS successor_version"
        " FROM kinora_tasks task"
        " LEFT JOIN kinora_versions own"
        " ON (own.service, own.kind, own.version) = (task.service, task.kind, task.runs_on)"
        " CROSS JOIN LATERAL (SELECT COALESCE(own.face_at > now() - make_interval(secs => %(abandoned)s), false)"
        " AS expected) runners"
        " CROSS JOIN LATERAL (SELECT version FROM kinora_versions other"
        " WHERE (other.service, other.kind) = (task.service, task.kind) AND other.version IS DISTINCT FROM task.runs_on"
        " AND (other.beat_at > now() - make_interval(secs => %(stalled)s)"
        " OR NOT runners.expected AND other.face_at > now() - make_interval(secs => %(stalled)s))"
        " ORDER BY first_seen DESC LIMIT 1) successor"
        " WHERE task.state = 'queued' AND task.job_id IS NOT NULL"
        " AND COALESCE(own.beat_at, task.created_at) < now() - make_interval(secs => %(abandoned)s)"
        " AND (NOT runners.expected"
        " OR GREATEST(task.created_at, task.requeued_at) < now() - make_interval(secs => %(awaited)s))"
        " FOR UPDATE OF task SKIP LOCKED",
        {"stalled": STALLED_SECONDS, "abandoned": ABANDONED_SECONDS, "awaited": AWAITED_SECONDS},
    )
    return [Orphan(**row) for row in await cursor.fetchall()]


async def forget(connection: Connection, days: float) -> None:
    """Delete the versions that have had no runner, and no service that expects one, for so long."""
    await connection.execute(
        "DELETE FROM kinora_versions WHERE GREATEST(beat_at, face_at) < now() - make_interval(secs => %s)",
        (days * 86400,),
    )
