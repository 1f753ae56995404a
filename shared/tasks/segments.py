"""Segments of long results: what is being made, what is finished, and who died while making it. SQL only.

A row is written when a segment is begun, so that a death says which segment it was in, and is done when the segment's
file has its name. Every write names the attempt and how often the segment was begun: nobody that was taken for dead can
finish one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.database.pool import Connection
from shared.queue.client import STALLED_SECONDS
from shared.tasks.rows import TaskRow, storable

LEASE_SECONDS = STALLED_SECONDS  # without a heartbeat for so long, a helper's segment is made by somebody else
SHOWN_MAKERS = 20  # in a task's details


@dataclass(frozen=True)
class Begun:
    """A segment that was begun; how often, this time included: 0 when somebody else makes it, or has made it."""

    begun: int
    crashes: int  # of runners that made it before


@dataclass(frozen=True)
class Plan:
    """How many segments the first attempt has planned; None: the source does not tell its length."""

    total: int | None


@dataclass(frozen=True)
class RunningSegment:
    """A segment in which a runner has died."""

    number: int
    begun: int
    crashes: int
    facts: dict[str, Any]

    @property
    def frames(self) -> str:
        """Which frames of the source it covers, about: the numbers follow from their times."""
        first, last = self.facts.get("range", (0, None))
        return f"{first}-{'' if last is None else last}"


@dataclass(frozen=True)
class LastProgress:
    """What the last finished segment says of its task: attempt and crashes so far."""

    attempt: int = 0
    crashes: int = 0


async def begin(
    connection: Connection,
    row: TaskRow,
    number: int,
    *,
    total: int | None,
    made_by: str,
    frames: tuple[int, int | None],
    fingerprint: str,
    replaced: str | None = None,
) -> Begun | None:
    """Begin a segment for the task's own attempt, new or once more; None for a lost fence.

    `frames` are the first and the last one of the source that it covers, about; None: to the end. A finished one is
    only begun again if its hash is `replaced`, and one that a helper makes once its lease has run out.
    """
    cursor = await connection.execute(
        "INSERT INTO kinora_segments (task, number, total, state, attempt, made_by, facts, fingerprint)"
        " SELECT id, %s, %s, 'running', attempt, %s, %s, %s FROM kinora_tasks"
        " WHERE id = %s AND attempt = %s AND state = 'running'"
        " ON CONFLICT (task, number) DO UPDATE SET total = EXCLUDED.total, state = 'running', helper = NULL,"
        " attempt = EXCLUDED.attempt, begun = kinora_segments.begun + 1, made_by = EXCLUDED.made_by,"
        " facts = EXCLUDED.facts, fingerprint = EXCLUDED.fingerprint, begun_at = now(), done_at = NULL,"
        " beat_at = now()"
        " WHERE CASE kinora_segments.state WHEN 'done' THEN kinora_segments.sha256 = %s"
        " ELSE kinora_segments.helper IS NULL OR kinora_segments.beat_at < now() - make_interval(secs => %s) END"
        " RETURNING begun, crashes",
        (number, total, made_by, Jsonb({"range": frames}), fingerprint, row.id, row.attempt, replaced, LEASE_SECONDS),
    )
    if found := await cursor.fetchone():
        return Begun(**found)
    cursor = await connection.execute(
        "SELECT 1 FROM kinora_tasks WHERE id = %s AND attempt = %s AND state = 'running'", (row.id, row.attempt)
    )
    return Begun(0, 0) if await cursor.fetchone() else None


async def plan(connection: Connection, task: UUID, fingerprint: str) -> Plan | None:
    """Return what the first attempt that makes such segments has planned; None where none has begun any."""
    cursor = await connection.execute(
        "SELECT total FROM kinora_segments WHERE task = %s AND fingerprint = %s LIMIT 1", (task, fingerprint)
    )
    found = await cursor.fetchone()
    return Plan(**found) if found else None


async def finish(
    connection: Connection,
    row: TaskRow,
    number: int,
    begun: int,
    *,
    record: dict[str, Any],
    helper: int | None = None,
) -> bool:
    """Keep a finished segment; False for a lost fence. Doing this twice changes nothing.

    A helper may do so also while its task waits for another attempt.
    """
    columns = ("bytes", "sha256", "frames", "fingerprint", "seconds")
    rest = {name: value for name, value in record.items() if name not in columns}
    cursor = await connection.execute(
        "UPDATE kinora_segments segment SET state = 'done', done_at = COALESCE(segment.done_at, now()), bytes = %s,"
        " sha256 = %s, frames = %s, fingerprint = %s, seconds = %s, facts = %s, task_crashes = task.crashes"
        " FROM kinora_tasks task WHERE task.id = segment.task AND segment.task = %s AND segment.number = %s"
        " AND segment.begun = %s AND segment.helper IS NOT DISTINCT FROM %s AND CASE WHEN segment.helper IS NULL"
        " THEN segment.attempt = %s AND task.attempt = %s AND task.state = 'running'"
        " ELSE task.state IN ('queued', 'running') AND NOT task.cancel END",
        (
            *(record[name] for name in columns), Jsonb(storable(rest)), row.id, number, begun, helper,
            row.attempt, row.attempt,
        ),
    )  # fmt: skip
    return cursor.rowcount == 1


async def finished(connection: Connection, task: UUID) -> list[dict[str, Any]]:
    """Return the records of a task's finished segments, as `finish` got them."""
    cursor = await connection.execute(
        "SELECT facts, number, bytes, sha256, frames, fingerprint, seconds FROM kinora_segments"
        " WHERE task = %s AND state = 'done' ORDER BY number",
        (task,),
    )
    return [{**found.pop("facts"), **found} for found in await cursor.fetchall()]


async def count_death(connection: Connection, row: TaskRow, *, crashed: bool) -> RunningSegment | None:
    """Count the death of a row's attempt against the segment that it was in; return that, None when it was in none."""
    cursor = await connection.execute(
        "UPDATE kinora_segments SET crashes = crashes + %s WHERE (task, number) IN"
        " (SELECT task, number FROM kinora_segments WHERE task = %s AND attempt = %s AND state = 'running'"
        " AND helper IS NULL ORDER BY number DESC LIMIT 1) RETURNING number, begun, crashes, facts",
        (int(crashed), row.id, row.attempt),
    )
    found = await cursor.fetchone()
    return RunningSegment(**found) if found else None


async def last_progress(connection: Connection, task: UUID) -> LastProgress:
    """Return what the newest finished segment says; zeros where none is finished."""
    cursor = await connection.execute(
        "SELECT max(attempt) AS attempt, max(task_crashes) AS crashes FROM kinora_segments"
        " WHERE task = %s AND state = 'done'",
        (task,),
    )
    found = await cursor.fetchone()
    return LastProgress(**found) if found and found["attempt"] is not None else LastProgress()


async def summaries(connection: Connection, tasks: Sequence[TaskRow]) -> dict[UUID, dict[str, Any]]:
    """Return what the details of each task show of its segments; tasks without any are left out.

    `repeated` counts how often one was begun again, `taken_over` those that an earlier attempt had finished, `by` the
    finished ones of each maker.
    """
    cursor = await connection.execute(
        "SELECT segment.task, segment.state, segment.attempt, begun, total, made_by, count(*) AS segments,"
        " CASE WHEN helper IS NULL THEN run.state = 'running' AND run.attempt = segment.attempt"
        " ELSE segment.beat_at > now() - make_interval(secs => %s) END AS live"
        " FROM kinora_segments segment JOIN kinora_tasks run ON run.id = segment.task"
        " WHERE segment.task = ANY(%s) GROUP BY 1, 2, 3, 4, 5, 6, 8",
        (LEASE_SECONDS, [row.id for row in tasks]),
    )
    groups: dict[UUID, list[dict[str, Any]]] = {}
    for group in await cursor.fetchall():
        groups.setdefault(group["task"], []).append(group)
    return {row.id: _summary(row, groups[row.id]) for row in tasks if row.id in groups}


async def of_ended_tasks(connection: Connection) -> list[UUID]:
    """Return the tasks that have ended and still have segments, which somebody was killed before removing."""
    cursor = await connection.execute(
        "SELECT DISTINCT task FROM kinora_segments JOIN kinora_tasks run ON run.id = task"
        " WHERE run.state NOT IN ('queued', 'running') AND run.finished_at < now() - interval '1 minute'"
    )
    return [found["task"] for found in await cursor.fetchall()]


async def forget(connection: Connection, task: UUID) -> None:
    """Delete the rows of a task's segments, once their files are gone; those that a helper is still making stay."""
    await connection.execute(
        "DELETE FROM kinora_segments WHERE task = %s AND NOT (state = 'running' AND helper IS NOT NULL"
        " AND beat_at > now() - make_interval(secs => %s))",
        (task, LEASE_SECONDS),
    )


def _summary(row: TaskRow, groups: Iterable[dict[str, Any]]) -> dict[str, Any]:
    groups = list(groups)
    done = [group for group in groups if group["state"] == "done"]
    running = [group for group in groups if group["state"] == "running" and group["live"]]
    by: dict[str, int] = {}
    for group in done:
        by[group["made_by"]] = by.get(group["made_by"], 0) + group["segments"]
    most = sorted(by.items(), key=lambda maker: (-maker[1], maker[0]))[:SHOWN_MAKERS]
    return {
        "done": sum(group["segments"] for group in done),
        "running": sum(group["segments"] for group in running),
        "total": max((group["total"] for group in groups if group["total"] is not None), default=None),
        "repeated": sum(group["segments"] * (group["begun"] - 1) for group in groups),
        "taken_over": sum(group["segments"] for group in done if group["attempt"] < row.attempt),
        "by": dict(most),
    }
