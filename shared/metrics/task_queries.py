"""What the database says of one service's tasks: how many wait and run, which have ended, what is undelivered.

SQL only. The rows show every task, whichever runner on whichever host has run it, and whatever was killed: no other
process has to report anything.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.database.pool import Connection
from shared.tasks.segments import LEASE_SECONDS
from shared.vocabulary import ServiceName


@dataclass(frozen=True)
class QueueDepth:
    """Tasks of one kind and version that wait or run."""

    kind: str
    version: str  # whose runners take them
    state: str
    tasks: int
    oldest_seconds: float  # since the oldest of them was accepted


@dataclass(frozen=True)
class Helpers:
    """Runners of one kind and version that make segments of another's task."""

    kind: str
    version: str
    helpers: int


@dataclass(frozen=True)
class Ended:
    """A task that has ended."""

    id: UUID
    kind: str
    version: str
    state: str
    crashes: int
    finished_at: datetime
    wait_seconds: float | None  # from acceptance to the first attempt; None for what never began
    run_seconds: float | None  # of the last attempt
    frames: float | None  # of the result, where the pipeline reported it
    segments: float | None = None  # finished ones, of a result that was made in segments
    repeated: float | None = None  # how often one of them was begun again
    stored: bool | None = None  # whether its results went into the bucket; None where none is used


@dataclass(frozen=True)
class UndeliveredCallbacks:
    """Callbacks that have not arrived."""

    state: str  # pending or parked
    callbacks: int
    oldest_seconds: float  # since the oldest of them was due first, or since its last replay


@dataclass(frozen=True)
class VersionHeartbeat:
    """The runners of one kind and version, wherever they are."""

    kind: str
    version: str
    age_seconds: float  # since the last heartbeat of any of them


async def clock(connection: Connection) -> datetime:
    """Return the database's time, by which rows are stamped."""
    cursor = await connection.execute("SELECT now() AS now")
    found = await cursor.fetchone()
    assert found
    now: datetime = found["now"]
    return now


async def queue_depths(connection: Connection, service: ServiceName) -> list[QueueDepth]:
    """Return the tasks that wait and run."""
    cursor = await connection.execute(
        "SELECT kind, COALESCE(runs_on, version) AS version, state, count(*) AS tasks,"
        " extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_seconds"
        " FROM kinora_tasks WHERE service = %s AND state IN ('queued', 'running') GROUP BY 1, 2, 3",
        (service,),
    )
    return [QueueDepth(**row) for row in await cursor.fetchall()]


async def helpers(connection: Connection, service: ServiceName) -> list[Helpers]:
    """Return how many runners help with tasks of each kind and version now; none where nobody does."""
    cursor = await connection.execute(
        "SELECT kind, COALESCE(runs_on, version) AS version, count(*) AS helpers FROM kinora_segments segment"
        " JOIN kinora_tasks run ON run.id = segment.task WHERE service = %s AND segment.state = 'running'"
        " AND helper IS NOT NULL AND segment.beat_at > now() - make_interval(secs => %s) GROUP BY 1, 2",
        (service, LEASE_SECONDS),
    )
    return [Helpers(**row) for row in await cursor.fetchall()]


async def ended(connection: Connection, service: ServiceName, since: datetime) -> list[Ended]:
    """Return the tasks that have ended since then."""
    cursor = await connection.execute(
        "SELECT id, kind, version, state, crashes, finished_at,"
        " extract(epoch FROM started_at - created_at)::float8 AS wait_seconds,"
        " extract(epoch FROM finished_at - resumed_at)::float8 AS run_seconds,"
        " CASE WHEN jsonb_typeof(details->'frames') = 'number' THEN (details->>'frames')::float8 END AS frames,"
        " (details->'segments'->>'done')::float8 AS segments, (details->'segments'->>'repeated')::float8 AS repeated,"
        " CASE WHEN jsonb_typeof(details->'stored'->'ok') = 'boolean' THEN (details->'stored'->>'ok')::boolean END"
        " AS stored"
        " FROM kinora_tasks WHERE service = %s AND finished_at > %s",
        (service, since),
    )
    return [Ended(**row) for row in await cursor.fetchall()]


async def undelivered(connection: Connection, service: ServiceName) -> list[UndeliveredCallbacks]:
    """Return the callbacks that are not delivered, parked or pending."""
    cursor = await connection.execute(
        "SELECT c.state, count(*) AS callbacks,"
        " extract(epoch FROM clock_timestamp() - min(c.since))::float8 AS oldest_seconds"
        " FROM kinora_callbacks c JOIN kinora_tasks t ON t.id = c.task"
        " WHERE c.state <> 'delivered' AND t.service = %s GROUP BY c.state",
        (service,),
    )
    return [UndeliveredCallbacks(**row) for row in await cursor.fetchall()]


async def heartbeats(connection: Connection, service: ServiceName) -> list[VersionHeartbeat]:
    """Return the versions that had runners within a day; an old release would only be noise."""
    cursor = await connection.execute(
        "SELECT kind, version, greatest(0, extract(epoch FROM clock_timestamp() - beat_at))::float8 AS age_seconds"
        " FROM kinora_versions WHERE service = %s AND beat_at > now() - interval '1 day'",
        (service,),
    )
    return [VersionHeartbeat(**row) for row in await cursor.fetchall()]
