"""How long it takes until a runner works where none does: measured by each runner that starts, for those that wait.

SQL and the estimate made of it. What an orchestrator does first (a poll of the queue, a node, a pod) is measured by how
long a task had waited when the runner's process began, the rest by the process itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.database.pool import Connection
from shared.queue.client import STALLED_SECONDS
from shared.tasks.heartbeats import ABANDONED_SECONDS, AWAITED_SECONDS
from shared.vocabulary import ServiceName

Part = Literal["arrival", "start", "load"]


@dataclass(frozen=True)
class VersionStarts:
    """What is known of the runners of one version."""

    version: str
    alive: bool  # one was heard lately
    expected: bool  # a service of this version has none of its own
    arrival_seconds: float | None
    start_seconds: float | None
    load_seconds: float | None


class ColdStarts:
    """The starts of the runners of one service and kind, those that were measured last first."""

    def __init__(self, versions: Sequence[VersionStarts] = ()) -> None:
        self._versions = versions

    def ahead(self, version: str | None, since: datetime | None, now: datetime) -> float | None:
        """Return the seconds until a runner of a version works, for what has waited `since` then.

        0 where one is alive, None where none is and no start was ever measured.
        """
        own = next((known for known in self._versions if known.version == version), None)
        if own is None or own.alive:
            return 0.0
        start, load = self._newest(own, "start"), self._newest(own, "load")
        if start is None or load is None:
            return None
        arrival = (self._newest(own, "arrival") or 0.0) if own.expected else 0.0
        waited = (now - since).total_seconds() if since else 0.0
        return max(0.0, arrival + start + load - waited)

    def _newest(self, own: VersionStarts, part: Part) -> float | None:
        """Return a part of a start as this version last measured it, else as any did."""
        measured = (getattr(known, f"{part}_seconds") for known in (own, *self._versions))
        return next((seconds for seconds in measured if seconds is not None), None)


async def read(connection: Connection, service: ServiceName, kind: str) -> list[VersionStarts]:
    """Return what is known of each version, those that were measured last first."""
    cursor = await connection.execute(
        "SELECT version, beat_at > now() - make_interval(secs => %s) AS alive,"
        " COALESCE(face_at > now() - make_interval(secs => %s), false) AS expected,"
        " arrival_seconds, start_seconds, load_seconds FROM kinora_versions WHERE service = %s AND kind = %s"
        " ORDER BY started_at DESC NULLS LAST",
        (STALLED_SECONDS, ABANDONED_SECONDS, service, kind),
    )
    return [VersionStarts(**row) for row in await cursor.fetchall()]


async def note(
    connection: Connection, service: ServiceName, kind: str, version: str, measured: Mapping[Part, float]
) -> None:
    """Note how many seconds parts of a runner's start took, for a version that has sent a heartbeat.

    What took longer than any task waits for a runner was held up by something else, and is no measure.
    """
    for part, seconds in measured.items():
        if 0 <= seconds <= AWAITED_SECONDS:
            await connection.execute(
                f"UPDATE kinora_versions SET {part}_seconds = %s, started_at = now()"  # noqa: S608  # a name of ours
                " WHERE service = %s AND kind = %s AND version = %s",
                (seconds, service, kind, version),
            )
