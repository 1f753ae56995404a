"""What the console asks of one service over HTTP: pages of records, all about one task, changes, the service's state.

In addition to the contract, for a router; docs/console.md says what it makes of them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.contract.fields import Integer
from shared.contract.json_values import read_text, shown
from shared.contract.messages import Answer
from shared.errors import Rejected
from shared.http.task_query import TaskQuery, read_task_id, unknown
from shared.vocabulary import ServiceName, TaskKind, TaskState

RECORDS_PATH = "/api/ai/records"
RECORD_PATH = RECORDS_PATH + "/{task_id}"
REPLAY_PATH = RECORD_PATH + "/replay"
CHANGES_PATH = "/api/ai/changes"
STATUS_PATH = "/api/ai/status"
MOST_WORDS = 200  # characters of a search
_SECONDS = Integer(1, 3600)
_CHANGED_SECONDS = 60

Record = dict[str, Any]


class RecordBackend(Protocol):
    """What these routes need of a service."""

    async def page(
        self,
        *,
        kind: TaskKind | None,
        state: TaskState | None,
        task_id: int | None,
        words: str,
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> Sequence[Record]:
        """Return a page of the newest run of each job, newest first."""

    async def full(self, task_id: int, *, kind: TaskKind | None, run: str | None) -> Sequence[Record]:
        """Return everything about a task; nothing when it is unknown."""

    async def changed(self, seconds: float) -> Sequence[Record]:
        """Return what is active, or has changed within so many seconds."""

    async def replay(self, task_id: int, *, kind: TaskKind | None, run: str | None) -> Answer:
        """Send the newest callback of a run once more."""

    async def status(self) -> Record:
        """Return what the service's process and machine are doing."""


class RecordRoutes:
    """The routes of one service; `backend` raises until there is one."""

    def __init__(self, service: ServiceName, backend: Callable[[], RecordBackend]) -> None:
        self._service = service
        self._backend = backend
        self.routes = [
            Route(RECORDS_PATH, self._page),
            Route(RECORD_PATH, self._full),
            Route(REPLAY_PATH, self._replay, methods=["POST"]),
            Route(CHANGES_PATH, self._changed),
            Route(STATUS_PATH, self._status),
        ]

    async def _page(self, request: Request) -> Response:
        query, given = TaskQuery.read(request.query_params), request.query_params
        task_id = read_task_id(given["task_id"]) if given.get("task_id") else None
        found = await self._backend().page(
            kind=query.kind,
            state=query.state,
            task_id=task_id,
            words=read_words(given),
            before=read_place(given["before"]) if given.get("before") else None,
            limit=query.limit,
        )
        return _records(found)

    async def _full(self, request: Request) -> Response:
        task_id, query = self._one(request)
        found = await self._backend().full(task_id, kind=query.kind, run=query.id)
        if not found:
            raise unknown(task_id)
        return _records(found)

    async def _replay(self, request: Request) -> Response:
        task_id, query = self._one(request)
        answer = await self._backend().replay(task_id, kind=query.kind, run=query.id)
        return JSONResponse(answer.model_dump())

    async def _changed(self, request: Request) -> Response:
        given = request.query_params.get("seconds")
        seconds = _SECONDS.read("seconds", given) if given else _CHANGED_SECONDS
        return _records(await self._backend().changed(seconds))

    async def _status(self, _request: Request) -> Response:
        return Response(to_json(plain(await self._backend().status())), media_type="application/json")

    def _one(self, request: Request) -> tuple[int, TaskQuery]:
        task_id = read_task_id(request.path_params["task_id"])
        query = TaskQuery.read(request.query_params)
        if query.service not in {None, self._service}:
            raise unknown(task_id)
        return task_id, query


def read_words(query: Mapping[str, str]) -> str:
    """Return the words of a search, empty for none; raise Rejected for more than a search takes."""
    words = read_text("q", query.get("q", "")).strip()
    if len(words) > MOST_WORDS:
        raise Rejected("words_too_long", limit=MOST_WORDS)
    return words


def read_place(text: str) -> tuple[datetime, str]:
    """Read where a page ends: the time and the id of its last row. Raises Rejected."""
    moment, _, run = text.partition(",")
    try:
        time, id_ = datetime.fromisoformat(moment), str(UUID(run))
    except ValueError as error:
        raise Rejected("place_refused", value=shown(text)) from error
    if time.tzinfo is None:
        raise Rejected("place_refused", value=shown(text))
    return time, id_


def place_of(record: Mapping[str, Any]) -> str:
    """Return the place behind a record, as `read_place` reads it."""
    return f"{record['created_at']},{record['id']}"


def plain(value: Any) -> Any:
    """Return what JSON can say: times in UTC, ids as text."""
    match value:
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case UUID():
            return str(value)
    return value


def _records(records: Sequence[Record]) -> Response:
    return Response(to_json({"records": plain(list(records))}, inf_nan_mode="null"), media_type="application/json")
