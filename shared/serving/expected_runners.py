"""Heartbeats of a service that has no runners of its own: its tasks wait for runners that start elsewhere."""

import math
import time
from collections.abc import Iterable

from shared.database.pool import Connection, Pool
from shared.queue.client import HEARTBEAT_SECONDS
from shared.settings import Settings
from shared.tasks import heartbeats
from shared.vocabulary import ServiceName, TaskKind


class ExpectedRunners:
    """Call `check` about once a second while the storage answers."""

    def __init__(self, service: ServiceName, settings: Settings, kinds: Iterable[TaskKind]) -> None:
        self._service = service
        self._version = settings.version
        self._kinds = kinds
        self._told_at = -math.inf

    async def check(self, pool: Pool) -> None:
        """Say that this version expects runners, so that no other takes its tasks; raise Unavailable."""
        if time.monotonic() >= self._told_at + HEARTBEAT_SECONDS:
            await pool.run_with_timeout(self._tell)
            self._told_at = time.monotonic()

    async def _tell(self, connection: Connection) -> None:
        await heartbeats.use_async_commit(connection)
        for kind in self._kinds:
            await heartbeats.record_face(connection, self._service, kind, self._version)
