"""Turns at the storage: in a burst callers wait for each other, and waiting is no outage."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.database.pool import Connection, Pool
from shared.errors import Busy, Unavailable

TURN_SECONDS = 20.0  # well within the time that BentoML gives a request

T = TypeVar("T")


class Turns:
    """Lets at most so many callers into the storage at a time, in the order in which they came.

    Give it fewer turns than a pool has connections: who has a turn then never waits for a connection, and the pool's
    own short limit means what it should, that the storage is away.
    """

    def __init__(self, at_a_time: int) -> None:
        self._slots = asyncio.Semaphore(at_a_time)
        self._outages = 0

    async def run(self, pool: Pool, work: Callable[[Connection], Awaitable[T]], *, snapshot: bool = False) -> T:
        """Run one transaction in its turn; raise Busy when that does not come, Unavailable when the storage is away.

        With `snapshot` it only reads, and sees one moment.
        """
        outages = self._outages
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Busy("requests_waiting") from error
        try:
            if outages != self._outages:  # what one found, those who waited behind it need not find one by one
                raise Unavailable("storage_unavailable")
            try:
                return await pool.run_with_timeout(work, snapshot=snapshot)
            except Unavailable:
                self._outages += 1
                raise
        finally:
            self._slots.release()
