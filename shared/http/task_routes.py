"""The tasks of one service over HTTP: list, look up, cancel. BentoML's APIs are POST only: this is mounted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self
from uuid import UUID

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.contract.fields import Choice, FieldType, Integer
from shared.contract.json_values import read_whole, shown
from shared.contract.messages import Answer, TaskList, TaskView
from shared.errors import Problem, Rejected
from shared.http.responses import NOT_FOUND, UNAVAILABLE, HttpProblem, answer_to
from shared.vocabulary import SERVICES, TASK_KINDS, TASK_STATES, Language, ServiceName, TaskKind, TaskState

TASKS_PATH = "/api/ai/tasks"
TASK_PATH = TASKS_PATH + "/{task_id}"
CANCEL_PATH = TASK_PATH + "/cancel"

_SERVICES: FieldType = Choice(*SERVICES)
_STATES = Choice(*TASK_STATES)
_KINDS = Choice(*TASK_KINDS)
_LIMIT = Integer(1, 500)
_DEFAULT_LIMIT = 50


class TaskBackend(Protocol):
    """What these routes need of a service."""

    async def tasks(
        self, *, task_id: int | None = None, state: TaskState | None = None, limit: int = _DEFAULT_LIMIT
    ) -> Sequence[TaskView]:
        """Return the newest run of each job and preview, newest first."""

    async def cancel(self, task_id: int, *, kind: TaskKind | None = None, id: str | None = None) -> Answer:  # noqa: A002
        """Ask every queued or running match to end as cancelled."""


@dataclass(frozen=True)
class TaskQuery:
    """The query of a list or a cancel, read as strictly as a body; unknown parameters are ignored, as in a body."""

    service: ServiceName | None = None
    state: TaskState | None = None
    kind: TaskKind | None = None
    id: str | None = None
    limit: int = _DEFAULT_LIMIT

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Read query parameters; an empty one is not given. Raises Rejected."""
        wires = {"service": _SERVICES, "state": _STATES, "kind": _KINDS, "limit": _LIMIT}
        given: dict[str, Any] = {name: wire.read(name, query[name]) for name, wire in wires.items() if query.get(name)}
        return cls(**given, id=_read_id(query["id"]) if query.get("id") else None)


def read_task_id(text: str) -> int:
    """Read the task_id of a path; a text that cannot be one gets the same answer as an unknown task."""
    task_id = read_whole(text)
    if task_id is None or task_id < 1:
        raise unknown(text)
    return task_id


def _read_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise Rejected("id_refused", value=shown(text)) from error


def unknown(task_id: int | str) -> HttpProblem:
    return HttpProblem(NOT_FOUND, "task_unknown", task_id=task_id)


def task_list(tasks: Sequence[TaskView]) -> Response:
    return Response(TaskList(tasks=list(tasks)).model_dump_json(), media_type="application/json")


class TaskRoutes:
    """Three routes, mounted before the service exists: BentoML mounts applications before it creates the service."""

    def __init__(self, service: ServiceName) -> None:
        self._service = service
        self._backend: TaskBackend | None = None
        self._language: Language = "en"
        self.app = Starlette(
            routes=[
                Route(TASKS_PATH, self._list),
                Route(TASK_PATH, self._find),
                Route(CANCEL_PATH, self._cancel, methods=["POST"]),
            ],
            exception_handlers={Problem: self._refuse},
        )

    def serve(self, backend: TaskBackend, language: Language) -> None:
        """Answer from this service from now on."""
        self._backend = backend
        self._language = language

    async def _list(self, request: Request) -> Response:
        query = TaskQuery.read(request.query_params)
        if query.service not in {None, self._service}:
            return task_list([])
        return task_list(await self._ready_backend().tasks(state=query.state, limit=query.limit))

    async def _find(self, request: Request) -> Response:
        task_id = read_task_id(request.path_params["task_id"])
        query = TaskQuery.read(request.query_params)
        found: Sequence[TaskView] = []
        if query.service in {None, self._service}:
            found = await self._ready_backend().tasks(task_id=task_id, state=query.state, limit=query.limit)
        if not found:
            raise unknown(task_id)
        return task_list(found)

    async def _cancel(self, request: Request) -> Response:
        task_id = read_task_id(request.path_params["task_id"])
        query = TaskQuery.read(request.query_params)
        if query.service not in {None, self._service}:
            raise unknown(task_id)
        answer = await self._ready_backend().cancel(task_id, kind=query.kind, id=query.id)
        return JSONResponse(answer.model_dump())

    def _ready_backend(self) -> TaskBackend:
        if self._backend is None:
            raise HttpProblem(UNAVAILABLE, "not_ready")
        return self._backend

    async def _refuse(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answer_to(error, self._language)
