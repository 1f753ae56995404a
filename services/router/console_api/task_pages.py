"""Tasks of all services as the console shows them: pages of the list, one task, and what can be done to it."""

import json
from collections.abc import Awaitable, Iterable, Mapping
from datetime import datetime
from itertools import chain
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.router.console_api.bodies import read_small
from services.router.console_api.guard import ROOT
from services.router.proxy import Proxy, submit_path
from services.router.versions import ServiceVersions
from shared.contract.fields import Choice, Integer
from shared.http.record_routes import RECORD_PATH, RECORDS_PATH, REPLAY_PATH, place_of, read_place, read_words
from shared.http.responses import NOT_FOUND, HttpProblem
from shared.http.task_query import TaskQuery, read_task_id, unknown
from shared.vocabulary import SERVICES, ServiceName

T = TypeVar("T")
_LIMIT = Integer(1, 200)
_DEFAULT_LIMIT = 50
_SERVICE = Choice(*SERVICES)
_PASSED = ("kind", "state", "task_id", "q", "before")  # of a query, to every service


class TaskPages:
    """The endpoints about tasks, over the services that the router knows."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        task = f"{ROOT}/tasks/{{task_id}}"
        self.routes = [
            Route(f"{ROOT}/tasks", self._page),
            Route(task, self._one),
            Route(f"{task}/cancel", self._cancel, methods=["POST"]),
            Route(f"{task}/again", self._again, methods=["POST"]),
            Route(f"{task}/replay", self._replay, methods=["POST"]),
            Route(f"{ROOT}/submit/{{service}}", self._submit, methods=["POST"]),
            Route(f"{ROOT}/document", self._document),
        ]

    async def _page(self, request: Request) -> Response:
        given = request.query_params
        query = TaskQuery.read({name: given[name] for name in ("service", "state", "kind") if name in given})
        limit = _LIMIT.read("limit", given["limit"]) if given.get("limit") else _DEFAULT_LIMIT
        read_words(given)
        if given.get("before"):
            read_place(given["before"])
        if given.get("task_id"):
            read_task_id(given["task_id"])
        # One more than asked for tells whether there is another page.
        passed = {name: given[name] for name in _PASSED if given.get(name)} | {"limit": str(limit + 1)}
        found, missing = await self._proxy.ask(
            query.service, lambda service: service.records(RECORDS_PATH, passed, self._headers(request))
        )
        rows = newest_first(found.values())
        more = place_of(rows[limit - 1]) if len(rows) > limit else None
        return JSONResponse({"rows": rows[:limit], "next": more, "unreachable": sorted(missing)})

    async def _one(self, request: Request) -> Response:
        task_id, query, passed = _about(request)
        path = RECORD_PATH.format(task_id=task_id)

        async def ask(service: ServiceVersions) -> list[dict[str, Any]]:
            try:
                return await service.records(path, passed, self._headers(request))
            except HttpProblem as problem:
                if problem.status != NOT_FOUND:
                    raise
                return []

        found, missing = await self._proxy.ask(query.service, ask)
        tasks = newest_first(found.values())
        if not tasks:
            raise next(iter(missing.values()), unknown(task_id))
        return JSONResponse({"tasks": tasks, "unreachable": sorted(missing)})

    async def _cancel(self, request: Request) -> Response:
        task_id, _, passed = _about(request)
        if service := request.query_params.get("service"):
            passed = {**passed, "service": service}
        return await self._proxy.cancel(task_id, passed, self._headers(request))

    async def _again(self, request: Request) -> Response:
        """Post the stored request once more: the contract says what that means."""
        task_id, service, passed = _named(request)
        versions = self._proxy.service(service)
        path, headers = RECORD_PATH.format(task_id=task_id), self._headers(request)
        found = await _known(task_id, versions.records(path, passed, headers))
        body = json.dumps(found[0]["request"]).encode()
        answer = await versions.submit(submit_path(service), body, headers)
        return Response(answer.content, answer.status_code, media_type="application/json")

    async def _replay(self, request: Request) -> Response:
        task_id, service, passed = _named(request)
        path, headers = REPLAY_PATH.format(task_id=task_id), self._headers(request)
        answer = await _known(task_id, self._proxy.service(service).ask(path, passed, headers, method="POST"))
        return JSONResponse(answer)

    async def _submit(self, request: Request) -> Response:
        name = request.path_params["service"]
        if name not in SERVICES:
            raise HttpProblem(NOT_FOUND, "no_such_path")
        body = await read_small(request)
        answer = await self._proxy.service(name).submit(submit_path(name), body, self._headers(request))
        return Response(answer.content, answer.status_code, media_type="application/json")

    async def _document(self, _request: Request) -> Response:
        return JSONResponse(await self._proxy.document(self._proxy.own_headers))

    def _headers(self, request: Request) -> Mapping[str, str]:
        """Return what a service is asked with: the router's own token, and the language of the page's sentences."""
        asked = {name: value for name, value in request.headers.items() if name == "accept-language"}
        return {**self._proxy.own_headers, **asked}


def newest_first(answers: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the records of several services as one list."""
    records = chain.from_iterable(answers)
    return sorted(records, key=lambda row: (datetime.fromisoformat(row["created_at"]), row["id"]), reverse=True)


async def _known(task_id: int, asking: Awaitable[T]) -> T:
    """Return an answer about a task; its 404 says that there is no such task."""
    try:
        return await asking
    except HttpProblem as problem:
        if problem.status == NOT_FOUND:
            raise unknown(task_id) from problem
        raise


def _about(request: Request) -> tuple[int, TaskQuery, dict[str, str]]:
    """Read which task, of which service, and what its service has to know."""
    task_id = read_task_id(request.path_params["task_id"])
    given = {name: value for name, value in request.query_params.items() if name in {"service", "kind", "id"} and value}
    return task_id, TaskQuery.read(given), {name: value for name, value in given.items() if name != "service"}


def _named(request: Request) -> tuple[int, ServiceName, dict[str, str]]:
    """Read which task, of a service that must be named."""
    task_id, query, passed = _about(request)
    if query.service is None:
        raise _SERVICE.missing("service")
    return task_id, query.service, passed
