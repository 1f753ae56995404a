"""The ledger of a task's segments in the database, as the threads of its attempt use it."""

import asyncio
import os
import platform
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from shared.database.pool import Connection, Pool
from shared.pipeline.job import JobStopped
from shared.pipeline.segment_store import SegmentRecord
from shared.runner.cancellation import CancellationToken
from shared.tasks import segments
from shared.tasks.rows import TaskRow

T = TypeVar("T")


class SegmentLedger:
    """The segments of one attempt. Each call blocks its thread until the storage has answered, however long it is away.

    Without its fence a call stops the attempt.
    """

    def __init__(self, row: TaskRow, pool: Pool, token: CancellationToken) -> None:
        self._row = row
        self._pool = pool
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._begun: dict[int, int] = {}  # how often each was begun, this time included
        self._made_by = f"{platform.node()}:{os.getpid()}"

    def records(self) -> list[SegmentRecord]:
        return [SegmentRecord(**found) for found in self._ask(partial(segments.finished, task=self._row.id))]

    def begin(self, number: int, total: int | None, frames: tuple[int, int | None]) -> None:
        begin = partial(segments.begin, row=self._row, number=number, total=total, made_by=self._made_by, frames=frames)
        begun = self._ask(partial(self._fenced, work=begin))
        self._token.check()
        assert begun is not None
        self._begun[number] = begun

    def keep(self, record: SegmentRecord) -> None:
        begun, number = self._begun[record.number], record.number
        finish = partial(segments.finish, row=self._row, number=number, begun=begun, record=record.to_json())
        if not self._ask(partial(self._fenced, work=finish)):
            raise JobStopped(self._token.reason)

    def pause(self) -> None:
        self._token.check_between_segments()

    async def _fenced(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Stop the attempt when its row is another's by now, which the statement tells by having no effect."""
        effect = await work(connection)
        if not effect:
            self._token.cancel("fenced")
        return effect

    def _ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return asyncio.run_coroutine_threadsafe(self._pool.retry_until_committed(work), self._loop).result()
