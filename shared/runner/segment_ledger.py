"""The ledger of a task's segments in the database, as the threads of an attempt or a helper use it."""

import asyncio
import os
import platform
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from shared.database.pool import Connection, Pool
from shared.pipeline.job import JobStopped
from shared.pipeline.segment_store import SegmentRecord, SegmentStart
from shared.queue.client import Queue
from shared.runner.cancellation import CancellationToken
from shared.tasks import helping, rows, segments
from shared.tasks.helping import Claim
from shared.tasks.rows import TaskRow

T = TypeVar("T")


def this_process() -> str:
    """Name who makes segments, for the details of a task."""
    return f"{platform.node()}:{os.getpid()}"


class _Storage:
    """The database, asked from a thread; blocks it until there is an answer, however long the storage is away."""

    def __init__(self, pool: Pool, token: CancellationToken) -> None:
        self._pool = pool
        self._token = token
        self._loop = asyncio.get_running_loop()

    def ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return asyncio.run_coroutine_threadsafe(self._pool.retry_until_committed(work), self._loop).result()

    def write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Ask for a write; stop the run when it has no effect: the row is another's by now."""
        effect = self.ask(work)
        if not effect:
            self._token.cancel("fenced")
            raise JobStopped(self._token.reason)
        return effect


class SegmentLedger:
    """The segments of a task, for its own attempt; `helpers` is how many others may help, None: any number."""

    assigned: int | None = None

    def __init__(
        self, row: TaskRow, pool: Pool, token: CancellationToken, *, queue: Queue, helpers: int | None
    ) -> None:
        self._row = row
        self._token = token
        self._queue = queue
        self._helpers = helpers
        self._storage = _Storage(pool, token)
        self._begun: dict[int, int] = {}  # how often each was begun, this time included

    def records(self) -> list[SegmentRecord]:
        return [
            SegmentRecord.from_json(found) for found in self._storage.ask(partial(segments.finished, task=self._row.id))
        ]

    def total(self, fingerprint: str, planned: int | None) -> int | None:
        begun = self._storage.ask(partial(segments.plan, task=self._row.id, fingerprint=fingerprint))
        return begun.total if begun else planned

    def begin(self, start: SegmentStart) -> bool:
        begun = self._storage.write(
            partial(
                segments.begin,
                row=self._row,
                number=start.number,
                total=start.total,
                made_by=this_process(),
                frames=start.frames,
                fingerprint=start.fingerprint,
                replaced=start.replaced,
            )
        )
        assert begun
        if start.helped and start.total is not None:
            # In a transaction of its own: it locks the task, as does who counts a death, and then the segment.
            self._storage.ask(partial(helping.call, queue=self._queue, row=self._row, most=self._helpers))
        self._begun[start.number] = begun.begun
        return begun.begun > 0

    def confirm(self, number: int) -> None:
        assert number in self._begun

        async def ours(connection: Connection) -> bool:
            now = await rows.read(connection, self._row.id)
            return now is not None and now.attempt == self._row.attempt and now.state == "running"

        self._storage.write(ours)

    def keep(self, record: SegmentRecord) -> None:
        begun, number = self._begun[record.number], record.number
        self._storage.write(
            partial(segments.finish, row=self._row, number=number, begun=begun, record=record.to_json())
        )

    def pause(self) -> None:
        self._token.check_between_segments()


class HelperLedger:
    """The one segment that a helper makes of another's task."""

    def __init__(self, row: TaskRow, pool: Pool, token: CancellationToken, *, claim: Claim, helper: int) -> None:
        self.assigned: int | None = claim.number
        self._row = row
        self._claim = claim
        self._helper = helper
        self._token = token
        self._storage = _Storage(pool, token)

    def records(self) -> list[SegmentRecord]:
        return [
            SegmentRecord.from_json(found) for found in self._storage.ask(partial(segments.finished, task=self._row.id))
        ]

    def total(self, fingerprint: str, planned: int | None) -> int | None:
        return self._claim.total if fingerprint == self._claim.fingerprint else planned

    def begin(self, start: SegmentStart) -> bool:
        """Go on: the segment was begun with its lease."""
        if start.fingerprint != self._claim.fingerprint:
            raise JobStopped("made otherwise here")
        return start.number == self.assigned

    def confirm(self, number: int) -> None:
        assert number == self.assigned
        self._storage.write(partial(helping.renew, task=self._row.id, helper=self._helper, claimed=self._claim))

    def keep(self, record: SegmentRecord) -> None:
        self._storage.write(
            partial(
                segments.finish,
                row=self._row,
                number=self._claim.number,
                begun=self._claim.begun,
                record=record.to_json(),
                helper=self._helper,
            )
        )

    def pause(self) -> None:
        """Go on: there is one segment only."""
