"""Which inputs of a task are fetched, as its row says, and which ended tasks may still have fetched files.

Acceptance notes them in the task's context; the note goes when the files have gone.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from shared.contract.path_lists import field_of
from shared.database.pool import Connection
from shared.media.media_info import MediaKind
from shared.tasks.rows import TaskRow

_NOTE = "fetch"


def note_of(inputs: Mapping[str, MediaKind], fetched: Collection[str]) -> dict[str, Any]:
    """Return what the context of a task says of those of its inputs that are to be fetched; nothing of none."""
    return {_NOTE: {name: inputs[field_of(name)] for name in fetched}} if fetched else {}


def wanted(row: TaskRow) -> Mapping[str, MediaKind]:
    """Return the inputs of a task whose URLs are to be fetched, with the kind of media that each must be.

    An input is called by its field, and in a list also by its place (`reference_images[0]`).
    """
    fields: Mapping[str, MediaKind] = row.context.get(_NOTE, {})
    return fields


async def forget(connection: Connection, task: UUID) -> None:
    """Note that nothing is left of what a task has fetched."""
    await connection.execute("UPDATE kinora_tasks SET context = context - 'fetch' WHERE id = %s", (task,))


async def of_ended_tasks(connection: Connection) -> list[UUID]:
    """Return the tasks that have ended and may still have fetched files, which somebody was killed before removing."""
    cursor = await connection.execute(
        "SELECT id FROM kinora_tasks WHERE context ? 'fetch' AND state NOT IN ('queued', 'running')"
        " AND finished_at < now() - interval '1 minute'"
    )
    return [found["id"] for found in await cursor.fetchall()]
