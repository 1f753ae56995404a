"""Helping: segments of a running task that other runners make, each under a lease of its own. SQL only.

A helper takes segments from the end of the film, its task's own attempt from the beginning, so that each goes on over
neighbours. Whose lease runs out, or who dies, loses the segment: it can neither finish nor renew it.
"""

from dataclasses import dataclass
from uuid import UUID

from shared.database.pool import Connection
from shared.queue.client import Queue
from shared.tasks import segments
from shared.tasks.heartbeats import use_async_commit
from shared.tasks.rows import TaskRow
from shared.tasks.segments import LEASE_SECONDS

_NOBODY = 0  # no worker's number
_ACTIVE = "task.state IN ('queued', 'running') AND NOT task.cancel"


@dataclass(frozen=True)
class Claim:
    """A segment that a helper makes; `begun` is its fence, `fingerprint` that of what the task's own attempt makes,
    `total` how many it makes.
    """

    number: int
    total: int
    begun: int
    fingerprint: str


async def claim(connection: Connection, task: UUID, helper: int, made_by: str) -> Claim | None:
    """Lease the last segment of a running task that nobody makes; None when there is none, or it was taken just now.

    One in which a runner has died is left to the task's own attempt, which counts its deaths.
    """
    cursor = await connection.execute(
        "INSERT INTO kinora_segments (task, number, total, state, attempt, made_by, helper, fingerprint)"
        " SELECT task.id, free.number, free.total, 'running', task.attempt, %s, %s, free.fingerprint"
        " FROM kinora_tasks task, LATERAL (SELECT place AS number, plan.total, plan.fingerprint FROM"
        " (SELECT total, fingerprint FROM kinora_segments own WHERE own.task = task.id AND own.helper IS NULL"
        " AND own.attempt = task.attempt ORDER BY begun_at DESC, number DESC LIMIT 1) plan,"
        " generate_series(0, plan.total - 1) AS place WHERE NOT EXISTS (SELECT 1 FROM kinora_segments made"
        " WHERE made.task = task.id AND made.number = place AND (made.state = 'done' OR made.crashes > 0"
        " OR made.helper IS NULL OR made.beat_at > now() - make_interval(secs => %s)))"
        " ORDER BY place DESC LIMIT 1) free WHERE task.id = %s AND task.state = 'running' AND NOT task.cancel"
        " ON CONFLICT (task, number) DO UPDATE SET attempt = EXCLUDED.attempt, begun = kinora_segments.begun + 1,"
        " made_by = EXCLUDED.made_by, helper = EXCLUDED.helper, fingerprint = EXCLUDED.fingerprint,"
        " total = EXCLUDED.total, begun_at = now(), beat_at = now()"
        " WHERE kinora_segments.state = 'running' AND kinora_segments.helper IS NOT NULL"
        " AND kinora_segments.beat_at < now() - make_interval(secs => %s) RETURNING number, total, begun, fingerprint",
        (made_by, helper, LEASE_SECONDS, task, LEASE_SECONDS),
    )
    found = await cursor.fetchone()
    return Claim(**found) if found else None


async def renew(connection: Connection, task: UUID, helper: int, claimed: Claim) -> bool:
    """Renew the lease; False when the helper must stop: it lost the segment, or the task has ended or is cancelled."""
    await use_async_commit(connection)
    cursor = await connection.execute(
        "UPDATE kinora_segments segment SET beat_at = now() FROM kinora_tasks task WHERE task.id = segment.task"  # noqa: S608  # constants of ours
        f" AND segment.task = %s AND number = %s AND begun = %s AND helper = %s AND segment.state = 'running'"
        f" AND {_ACTIVE}",
        (task, claimed.number, claimed.begun, helper),
    )
    return cursor.rowcount == 1


async def release(connection: Connection, task: UUID, helper: int, *, crashed: bool = False) -> None:
    """End the lease of whatever a helper was making, for good; `crashed`: its runner died of it."""
    await connection.execute(
        "UPDATE kinora_segments SET helper = %s, beat_at = 'epoch', crashes = crashes + %s"
        " WHERE task = %s AND helper = %s AND state = 'running'",
        (_NOBODY, int(crashed), task, helper),
    )


async def call(connection: Connection, queue: Queue, row: TaskRow, most: int | None) -> None:
    """Queue a job that brings one more helper, behind all whole tasks; `most` is how many may help at the same time.

    Nobody is called while a call waits, nor when those who follow one already, and may still be loading their model,
    are enough for all segments that nobody makes.
    """
    if most == 0:
        return
    # One caller at a time. Not FOR UPDATE, which would wait for all who have begun a segment, as they would for us.
    await connection.execute("SELECT 1 FROM kinora_tasks WHERE id = %s FOR NO KEY UPDATE", (row.id,))
    waiting, helping = await queue.helpers(connection, row.id)
    if waiting or (most is not None and helping >= most):
        return
    cursor = await connection.execute(
        "SELECT COALESCE(max(total), 0) - count(*) AS free, count(*) FILTER (WHERE state = 'running'"
        " AND helper IS NOT NULL AND beat_at > now() - make_interval(secs => %s)) AS leased"
        " FROM kinora_segments WHERE task = %s",
        (LEASE_SECONDS, row.id),
    )
    [found] = await cursor.fetchall()
    if helping - found["leased"] < found["free"]:
        await queue.defer_help(connection, row.service, row.kind, row.runs_on or row.version, row.id)


async def end(connection: Connection, queue: Queue, task: UUID) -> None:
    """Forget the segments of a task that has ended, once their files are gone, and the calls for help with it."""
    await segments.forget(connection, task)
    await queue.drop_help(connection, task)
