"""The documented URLs in front of the services: one table, the merged task list, the merged document."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.router.metrics import RouterMetrics
from services.router.upstream import absent
from services.router.versions import ServiceVersions
from shared.contract.messages import Answer, TaskView
from shared.errors import Problem
from shared.http.openapi import DOCUMENT_PATH, Document, merge
from shared.http.responses import UNAVAILABLE, HttpProblem, answer_to
from shared.http.task_query import TaskQuery, read_task_id, unknown
from shared.http.task_routes import CANCEL_PATH, TASK_PATH, TASKS_PATH, task_list
from shared.metrics.instruments import merge as merge_figures
from shared.metrics.instruments import render
from shared.settings import Settings
from shared.upstreams import WeightedUpstream
from shared.vocabulary import SERVICES, ServiceName

TRACKING_PATH = "/api/ai/tracking_creation"  # a second one of creation
# Spellings of the configurations of backends, and the paths that they mean.
ALIASES = {"/api/ai/upcale": "/api/ai/upscale", "/api/ai/traking_creation": TRACKING_PATH}


def submit_path(service: ServiceName) -> str:
    """Return the documented path of a service."""
    return f"/api/ai/{service}"


_SERVED: dict[str, ServiceName] = {submit_path(service): service for service in SERVICES} | {TRACKING_PATH: "creation"}
PATHS: dict[str, ServiceName] = _SERVED | {alias: _SERVED[path] for alias, path in ALIASES.items()}
UNREACHABLE_HEADER = "kinora-unreachable"  # names the services that a merged list lacks

T = TypeVar("T")


class Proxy:
    """An ASGI application; `addresses` is called once, at the start, and returns the versions of every service.

    `describe_own` returns what the OpenAPI document has beside the services' paths.
    """

    def __init__(
        self,
        addresses: Callable[[Settings], Mapping[ServiceName, Sequence[WeightedUpstream]]],
        describe_own: Callable[[Settings], Document] | None = None,
    ) -> None:
        self._addresses = addresses
        self._describe_own = describe_own
        self._own_documents: list[Document] = []
        self._services: dict[ServiceName, ServiceVersions] = {}
        self._metrics = RouterMetrics()
        self.own_headers: Mapping[str, str] = {}  # with the router's own token, for what it asks itself
        self.app = Starlette(
            routes=[
                *(Route(path, self._submit, methods=["POST"]) for path in PATHS),
                Route(TASKS_PATH, self._list),
                Route(TASK_PATH, self._look_up),
                Route(CANCEL_PATH, self._cancel, methods=["POST"]),
                Route(DOCUMENT_PATH, self._document),
            ],
            exception_handlers={Problem: self._refuse},
            lifespan=self._open,
        )

    @property
    def names(self) -> Sequence[ServiceName]:
        """The services that have an address."""
        return list(self._services)

    async def ready(self, needed: Iterable[ServiceName]) -> bool:
        """Whether every needed service is ready, and at least one of all."""
        names = list(self._services)
        states = dict(zip(names, await asyncio.gather(*(self._services[name].ready() for name in names)), strict=True))
        return any(states.values()) and all(states.get(name, False) for name in needed)

    async def metrics(self) -> str:
        """Return the router's metrics and those of the services of this machine, which only the router can reach."""
        pages = await asyncio.gather(*(found.local_metrics(self.own_headers) for found in self._services.values()))
        return render(self._metrics.families()) + merge_figures(page for found in pages for page in found)

    @contextlib.asynccontextmanager
    async def _open(self, app: Starlette) -> AsyncIterator[None]:
        settings = Settings.load()
        app.state.language = settings.language
        self.own_headers = {"authorization": f"Bearer {settings.access.tokens[0]}"} if settings.access.tokens else {}
        self._own_documents = [self._describe_own(settings)] if self._describe_own else []
        self._services = {
            name: ServiceVersions(name, shares, self._metrics) for name, shares in self._addresses(settings).items()
        }
        try:
            yield
        finally:
            await asyncio.gather(*(service.close() for service in self._services.values()))

    async def _submit(self, request: Request) -> Response:
        path: str = request.scope["path"]
        service = self.service(PATHS[path])
        answer = await service.submit(ALIASES.get(path, path), await request.body(), request.headers)
        return Response(answer.content, answer.status_code, media_type="application/json")

    async def _list(self, request: Request) -> Response:
        return await self._merged(TASKS_PATH, request)

    async def _look_up(self, request: Request) -> Response:
        task_id = read_task_id(request.path_params["task_id"])
        return await self._merged(TASK_PATH.format(task_id=task_id), request, task_id)

    async def _merged(self, path: str, request: Request, task_id: int | None = None) -> Response:
        """Return the newest tasks of all services; a service that does not answer only makes the list shorter."""
        query = TaskQuery.read(request.query_params)
        found, missing = await self.ask(
            query.service, lambda service: service.tasks(path, request.query_params, request.headers)
        )
        tasks: list[TaskView] = []
        for answer in found.values():
            if isinstance(answer, Answer):
                return JSONResponse(answer.model_dump())
            tasks += answer.tasks
        if task_id is not None and not tasks:
            raise unknown(task_id) if not missing else next(iter(missing.values()))
        newest = sorted(tasks, key=lambda task: task.created_at, reverse=True)[: query.limit]
        response = task_list(newest)
        if missing:
            response.headers[UNREACHABLE_HEADER] = ", ".join(missing)
        return response

    async def _cancel(self, request: Request) -> Response:
        return await self.cancel(read_task_id(request.path_params["task_id"]), request.query_params, request.headers)

    async def cancel(self, task_id: int, given: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """Ask every service of a query to cancel: accepted if one of them did."""
        path = CANCEL_PATH.format(task_id=task_id)
        found, missing = await self.ask(
            TaskQuery.read(given).service,
            lambda service: service.cancel(path, given, headers, task_id=task_id),
        )
        answers = sorted(found.values(), key=lambda answer: (answer.json()["err_code"] != 0, answer.status_code))
        if missing and (not answers or answers[0].json()["err_code"] != 0):
            raise next(iter(missing.values()))
        return Response(answers[0].content, answers[0].status_code, media_type="application/json")

    async def _document(self, request: Request) -> Response:
        return JSONResponse(await self.document(request.headers))

    async def document(self, headers: Mapping[str, str]) -> Document:
        """Return the OpenAPI documents of all services, and the router's own, as one."""
        found, _ = await self.ask(None, lambda service: service.document(DOCUMENT_PATH, headers))
        return merge([*found.values(), *self._own_documents])

    async def ask(
        self, wanted: ServiceName | None, ask: Callable[[ServiceVersions], Awaitable[T]]
    ) -> tuple[dict[ServiceName, T], dict[ServiceName, HttpProblem]]:
        """Ask one service or all at once; return the answers, and the problems of those that gave none.

        Raises the problem when nobody answers.
        """
        names = [wanted] if wanted else list(self._services)
        outcomes = await asyncio.gather(*(ask(self.service(name)) for name in names), return_exceptions=True)
        found: dict[ServiceName, T] = {}
        missing: dict[ServiceName, HttpProblem] = {}
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, HttpProblem):
                missing[name] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                found[name] = outcome
        if not found:
            raise next(iter(missing.values()), HttpProblem(UNAVAILABLE, "services_down"))
        return found, missing

    def service(self, name: ServiceName) -> ServiceVersions:
        """Return a service; raise HttpProblem for one that neither runs here nor has a URL."""
        if name not in self._services:
            raise absent(name)
        return self._services[name]

    async def _refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answer_to(error, request.app.state.language)
