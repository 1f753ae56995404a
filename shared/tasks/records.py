"""Tasks as the console shows them: pages of the list, what has changed lately, and everything about one task."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from shared.contract.messages import TaskView
from shared.contract.path_lists import field_of, named_paths
from shared.database.pool import Connection
from shared.fetching.web_address import is_web_address
from shared.tasks import tries, views
from shared.tasks.rows import COLUMNS, TaskRow
from shared.vocabulary import ServiceName, TaskKind, TaskState

INPUT_FIELDS = (
    "video_url", "image_url", "last_image_url", "reference_images", "source_file", "faces.source_file", "target_file",
)  # fmt: skip
MOST_CHANGED = 500
MOST_SEGMENTS, MOST_RUNS, MOST_CALLBACKS = 2000, 50, 20  # of one task
_THUMBNAILS = ("preview_image", "video_url")  # of a result
_SHOWN_INPUTS = ("video_url", "target_file", "image_url", "source_file")  # the first of them, before there is a result

# The names that a search looks at: those of a request's files and of its result.
_NAMES = """lower(concat_ws(' ', request->>'video_url', request->>'image_url', request->>'source_file',
    request->>'target_file', result->>'video_url', result->>'preview_image'))"""

CHANGED = f"""
    SELECT {COLUMNS} FROM kinora_tasks WHERE newest AND service = %(service)s AND id IN (
        SELECT id FROM kinora_tasks WHERE service = %(service)s AND state IN ('queued', 'running')
        UNION
        SELECT id FROM kinora_tasks
        WHERE service = %(service)s AND finished_at > now() - make_interval(secs => %(seconds)s)
        UNION
        SELECT callback.task FROM kinora_callback_tries attempt
        JOIN kinora_callbacks callback ON callback.id = attempt.callback
        WHERE attempt.at > now() - make_interval(secs => %(seconds)s)
    ) ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608  # a constant of ours


@dataclass(frozen=True)
class RecordQuery:
    """Which newest runs a page holds; `before` is the time and the id of the last one of the page before it."""

    kind: TaskKind | None = None
    state: TaskState | None = None
    task_id: int | None = None
    words: str = ""
    before: tuple[datetime, str] | None = None
    limit: int = 50


async def page(connection: Connection, service: ServiceName, query: RecordQuery) -> list[dict[str, Any]]:
    """Return a page of the newest runs, newest first."""
    clauses = ["service = %(service)s", "newest"]
    values: dict[str, Any] = {"service": service, "limit": query.limit}
    for column in ("kind", "state", "task_id"):
        if (value := getattr(query, column)) is not None:
            clauses.append(f"{column} = %({column})s")
            values[column] = value
    if query.words:
        by_id = "task_id::text LIKE %(beginning)s OR " if query.words.isdecimal() and query.words.isascii() else ""
        clauses.append(f"({by_id}strpos({_NAMES}, lower(%(words)s)) > 0)")
        values |= {"words": query.words, "beginning": f"{query.words}%"}
    if query.before:
        # The first of the two is what the index is walked by.
        clauses.append("created_at <= %(time)s AND (created_at, id) < (%(time)s, %(id)s::uuid)")
        values |= {"time": query.before[0], "id": query.before[1]}
    statement = f"SELECT {COLUMNS} FROM kinora_tasks WHERE {' AND '.join(clauses)}"  # noqa: S608  # clauses of this file only
    cursor = await connection.execute(f"{statement} ORDER BY created_at DESC, id DESC LIMIT %(limit)s", values)
    return await _shown(connection, service, [TaskRow(**row) for row in await cursor.fetchall()])


async def changed(connection: Connection, service: ServiceName, seconds: float) -> list[dict[str, Any]]:
    """Return what is active, and what ended or whose callback was tried within so many seconds; newest first."""
    cursor = await connection.execute(CHANGED, {"service": service, "seconds": seconds, "limit": MOST_CHANGED})
    return await _shown(connection, service, [TaskRow(**row) for row in await cursor.fetchall()])


async def full(
    connection: Connection, service: ServiceName, task_id: int, *, kind: TaskKind | None = None, run: str | None = None
) -> list[dict[str, Any]]:
    """Return everything about the newest run of each job of a task, or about one run; newest first."""
    found = await find(connection, service, task_id, kind=kind, run=run)
    shown = await _shown(connection, service, found)
    return [record | await _rest(connection, row) for row, record in zip(found, shown, strict=True)]


async def find(
    connection: Connection, service: ServiceName, task_id: int, *, kind: TaskKind | None = None, run: str | None = None
) -> list[TaskRow]:
    """Return the newest run of each job of a task, or one run, also an older one; newest first."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM kinora_tasks WHERE service = %s AND task_id = %s"  # noqa: S608  # a constant of ours
        " AND (%s::text IS NULL OR kind = %s) AND CASE WHEN %s::uuid IS NULL THEN newest ELSE id = %s END"
        " ORDER BY created_at DESC, id DESC LIMIT %s",
        (service, task_id, kind, kind, run, run, MOST_RUNS),
    )
    return [TaskRow(**row) for row in await cursor.fetchall()]


async def newest_callback(connection: Connection, row: UUID) -> UUID | None:
    """Return the key of a run's newest callback; None while it has none."""
    cursor = await connection.execute(
        "SELECT id FROM kinora_callbacks WHERE task = %s ORDER BY created_at DESC LIMIT 1", (row,)
    )
    found = await cursor.fetchone()
    return found["id"] if found else None


async def _shown(connection: Connection, service: ServiceName, rows: Sequence[TaskRow]) -> list[dict[str, Any]]:
    shown = await views.shown(connection, service, rows)
    return [_record(row, view) for row, view in zip(rows, shown, strict=True)]


def _record(row: TaskRow, view: TaskView) -> dict[str, Any]:
    inputs = [
        {"field": field, "path": path}
        for field in INPUT_FIELDS
        for name, path in named_paths(field.partition(".")[0], row.request.get(field.partition(".")[0])).items()
        if path and field_of(name) == field
    ]
    results = list(_results(row))
    paths = {result["field"]: result["path"] for result in results}
    before = {given["field"]: given["path"] for given in inputs if not is_web_address(given["path"])}
    candidates = [*map(paths.get, _THUMBNAILS), *map(before.get, _SHOWN_INPUTS)]
    return view.model_dump() | {
        "task_id_text": str(row.task_id),  # as a browser keeps it: its numbers are exact up to 2^53 only
        "request": row.request,
        "inputs": inputs,
        "results": results,
        "previews": _previews(row),
        "thumbnail": next(filter(None, candidates), None),
        "version": row.version,
        "cancel": row.cancel,
    }


def _results(row: TaskRow) -> list[dict[str, str]]:
    result, folder = row.result or {}, str(row.request.get("dist_dir", ""))
    names = [(field, result.get(field)) for field in ("video_url", "preview_image")]
    names += [("reference_images", name) for name in result.get("reference_images", [])]
    return [{"field": field, "name": name, "path": inside(folder, name)} for field, name in names if name]


def _previews(row: TaskRow) -> list[str]:
    """Return the paths of the pictures that an unfinished result has left, the newest last."""
    folder, names = str(row.request.get("dist_dir", "")), row.details.get("previews")
    return [inside(folder, str(name)) for name in names] if isinstance(names, list) else []


def inside(folder: str, name: str) -> str:
    """Return the path of a file of a folder as its caller writes paths: a file URL, a Windows path, or ours."""
    if folder[:5].lower() == "file:":
        return f"{folder.rstrip('/')}/{quote(name)}"
    if "\\" in folder and "/" not in folder:
        return folder.rstrip("\\") + "\\" + name
    return f"{folder.rstrip('/')}/{name}"


async def _rest(connection: Connection, row: TaskRow) -> dict[str, Any]:
    """Return what only the page of one task shows."""
    run = await connection.execute(
        "SELECT crashes, runs_on, resumed_at, beat_at FROM kinora_tasks WHERE id = %s", (row.id,)
    )
    segments = await connection.execute(
        "SELECT number, total, state, attempt, begun, crashes, made_by, helper IS NOT NULL AS helper, begun_at,"
        " done_at, bytes, frames, seconds FROM kinora_segments WHERE task = %s ORDER BY number LIMIT %s",
        (row.id, MOST_SEGMENTS),
    )
    runs = await connection.execute(
        "SELECT id, state, created_at, started_at, finished_at, attempt, coalesce(result->>'err_msg', '') AS err_msg"
        " FROM kinora_tasks WHERE service = %s AND task_id = %s AND kind = %s ORDER BY created_at DESC, id DESC"
        " LIMIT %s",
        (row.service, row.task_id, row.kind, MOST_RUNS),
    )
    return {
        **(await run.fetchone() or {}),
        "segments": await segments.fetchall(),
        "runs": await runs.fetchall(),
        "callbacks": await _callbacks(connection, row.id),
    }


async def _callbacks(connection: Connection, task: UUID) -> list[dict[str, Any]]:
    cursor = await connection.execute(
        "SELECT id, state, created_at, next_at, delivered_at, attempts, last_error, body FROM kinora_callbacks"
        " WHERE task = %s ORDER BY created_at DESC LIMIT %s",
        (task, MOST_CALLBACKS),
    )
    found = await cursor.fetchall()
    attempts = await tries.of_callbacks(connection, [callback["id"] for callback in found])
    return [callback | {"tries": attempts.get(callback["id"], [])} for callback in found]
