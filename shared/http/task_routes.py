"""The tasks of one service over HTTP: list, look up, cancel. BentoML's APIs are POST only: this is mounted."""

from collections.abc import Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.contract.messages import Answer, TaskList, TaskView
from shared.errors import Problem
from shared.http.record_routes import RecordBackend, RecordRoutes
from shared.http.responses import UNAVAILABLE, HttpProblem, answer_to
from shared.http.task_query import DEFAULT_LIMIT, TaskQuery, read_task_id, unknown
from shared.vocabulary import Language, ServiceName, TaskKind, TaskState

TASKS_PATH = "/api/ai/tasks"
TASK_PATH = TASKS_PATH + "/{task_id}"
CANCEL_PATH = TASK_PATH + "/cancel"


class TaskBackend(Protocol):
    """What these routes need of a service."""

    @property
    def records(self) -> RecordBackend:
        """Return what the console asks."""

    async def tasks(
        self, *, task_id: int | None = None, state: TaskState | None = None, limit: int = DEFAULT_LIMIT
    ) -> Sequence[TaskView]:
        """Return the newest run of each job and preview, newest first."""

    async def cancel(self, task_id: int, *, kind: TaskKind | None = None, id: str | None = None) -> Answer:  # noqa: A002
        """Ask every queued or running match to end as cancelled."""


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
                *RecordRoutes(service, lambda: self._ready_backend().records).routes,
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
