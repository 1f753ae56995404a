"""How one runner came to work, noted for those who wait for the next: `shared.tasks.cold_starts` estimates by it."""

import time

import psutil

from shared.database.pool import Pool
from shared.tasks import cold_starts, heartbeats
from shared.tasks.cold_starts import Part
from shared.tasks.rows import TaskRow
from shared.vocabulary import ServiceName, TaskKind


def process_seconds() -> float:
    """Return the age of this process, the start of the interpreter included."""
    return max(0.0, time.time() - psutil.Process().create_time())


class ColdStart:
    """One runner's start. `start_seconds` is from the start of its process until it takes tasks."""

    def __init__(self, service: ServiceName, kind: TaskKind, version: str, *, start_seconds: float) -> None:
        self._service = service
        self._kind = kind
        self._version = version
        self._unnoted: dict[Part, float] = {"start": start_seconds}
        self._is_first = False  # nothing of its version was at work when it came, and a service waited for it
        self._has_loaded = False

    async def look(self, pool: Pool) -> None:
        """See whether this runner is the first; call before its own first heartbeat. Raises Unavailable."""
        async with pool.transaction() as connection:
            known = await cold_starts.read(connection, self._service, self._kind)
        self._is_first = any(one.version == self._version and one.expected and not one.alive for one in known)

    def took(self, row: TaskRow) -> None:
        """Measure, with the first task that is taken, for how long it had waited when this process began.

        By the database's clock: this machine's may differ by more than a start takes.
        """
        if self._is_first and row.resumed_at:
            waited = row.resumed_at - max(row.created_at, row.requeued_at or row.created_at)
            self._unnoted["arrival"] = max(0.0, waited.total_seconds() - process_seconds())
        self._is_first = False

    async def note(self, pool: Pool, load_seconds: float | None) -> None:
        """Note what was measured since the last time; call after a heartbeat. Raises Unavailable."""
        if load_seconds is not None and not self._has_loaded:
            self._unnoted["load"] = load_seconds
            self._has_loaded = True
        if measured := dict(self._unnoted):
            async with pool.transaction() as connection:
                await heartbeats.use_async_commit(connection)
                await cold_starts.note(connection, self._service, self._kind, self._version, measured)
            self._unnoted = {part: seconds for part, seconds in self._unnoted.items() if part not in measured}
