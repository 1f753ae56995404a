"""What the attempts of a task have left to each other: it goes when the task has its end."""

import asyncio
from contextlib import suppress

from shared.database.pool import Pool
from shared.errors import Unavailable
from shared.queue.client import Queue
from shared.tasks import fetched_inputs, helping
from shared.tasks.rows import TaskRow
from shared.tasks.workspace import Workspace


class Leftovers:
    """The segments and the fetched inputs of one task. What cannot be removed now is found later."""

    def __init__(self, row: TaskRow, workspace: Workspace, pool: Pool, queue: Queue) -> None:
        self._row = row
        self._workspace = workspace
        self._pool = pool
        self._queue = queue

    async def remove_segments(self) -> None:
        """Remove the files of segments, then their rows."""
        if await asyncio.to_thread(self._workspace.remove_segments, self._row):
            with suppress(Unavailable):
                async with self._pool.transaction() as connection:
                    await helping.end(connection, self._queue, self._row.id)

    async def remove_inputs(self) -> None:
        """Remove what was fetched, then the note of it."""
        if await asyncio.to_thread(self._workspace.remove_inputs, self._row):
            with suppress(Unavailable):
                async with self._pool.transaction() as connection:
                    await fetched_inputs.forget(connection, self._row.id)
