"""A service as the router sees it, without anything behind it: real HTTP, answers as a test wants them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.router.upstream import Upstream
from services.upscale.request import UpscaleRequest
from shared.contract.messages import TaskView
from shared.http.openapi import describe
from shared.http.record_routes import plain
from shared.http.task_query import TaskQuery, read_task_id, unknown
from shared.http.task_routes import task_list
from shared.vocabulary import ServiceName

ACCEPTED = {"err_code": 0, "err_msg": ""}
HUNG_SECONDS = 0.3  # how long what hangs is waited for
PATIENCE_SECONDS = 60.0  # for what is only slow, on a machine that is busy with other things
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Far:
    """A service on another machine, as much of it as the router sees: what it was asked, and what it knows."""

    name: ServiceName
    tasks: list[TaskView] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Response = field(default_factory=lambda: JSONResponse(ACCEPTED))
    told: object = None  # in place of its records

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"/api/ai/{self.name}", self._act, methods=["POST"]),
                Route("/api/ai/tasks", self._list),
                Route("/api/ai/tasks/{task_id}", self._look_up),
                Route("/api/ai/tasks/{task_id}/cancel", self._act, methods=["POST"]),
                Route("/api/ai/records", self._records),
                Route("/api/ai/records/{task_id}", self._record),
                Route("/api/ai/records/{task_id}/replay", self._act, methods=["POST"]),
                Route("/api/ai/changes", self._changes),
                Route("/api/ai/status", self._status),
                Route("/docs.json", self._document),
                Route("/readyz", lambda _request: Response()),
            ]
        )

    async def _act(self, request: Request) -> Response:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.asked.append((target, dict(request.headers), await request.body()))
        return self.answer

    async def _list(self, request: Request) -> Response:
        if self.answer.status_code >= 500:
            return self.answer
        return task_list(self.tasks[: TaskQuery.read(request.query_params).limit])

    async def _look_up(self, request: Request) -> Response:
        task_id = read_task_id(request.path_params["task_id"])
        found = [task for task in self.tasks if task.task_id == task_id]
        return task_list(found) if found else JSONResponse({"err_code": -1, "err_msg": str(unknown(task_id))}, 404)

    async def _records(self, request: Request) -> Response:
        if self.answer.status_code >= 500:
            return self.answer
        self.asked.append((str(request.url.query), dict(request.headers), b""))
        if self.told is not None:
            return JSONResponse(self.told)
        found = sorted(map(record, self.tasks), key=lambda row: (row["created_at"], row["id"]), reverse=True)
        if place := request.query_params.get("before"):
            found = [row for row in found if (row["created_at"], row["id"]) < tuple(place.split(","))]
        return JSONResponse({"records": found[: int(request.query_params["limit"])]})

    async def _record(self, request: Request) -> Response:
        task_id = read_task_id(request.path_params["task_id"])
        found = [record(task) for task in self.tasks if task.task_id == task_id]
        return JSONResponse({"records": found}, 200 if found else 404)

    async def _changes(self, _request: Request) -> Response:
        if self.answer.status_code >= 500:
            return self.answer
        return JSONResponse({"records": list(map(record, self.tasks))})

    async def _status(self, _request: Request) -> Response:
        lists: dict[str, Any] = {key: [] for key in ("runners", "queues", "running", "callbacks", "gpus", "disks")}
        return JSONResponse({"service": self.name, "version": "1.0", "ready": True, **lists})

    async def _document(self, _request: Request) -> Response:
        return JSONResponse(describe({f"/api/ai/{self.name}": UpscaleRequest}))


def wait_briefly_for(hung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the router give up on one URL soon, and on no other: a busy machine must not make a test fail."""
    send = Upstream._send

    async def patient(self: Upstream, method: str, path: str, headers: Any, _seconds: float, **content: Any) -> Any:
        seconds = HUNG_SECONDS if self._url == hung else PATIENCE_SECONDS
        return await send(self, method, path, headers, seconds, **content)

    monkeypatch.setattr(Upstream, "_send", patient)


def task(service: ServiceName, task_id: int, minute: int) -> TaskView:
    run = f"{task_id:08}-0000-4000-8000-{minute:012}"
    created = NOON + timedelta(minutes=minute)
    return TaskView(id=run, service=service, task_id=task_id, state="queued", created_at=created)


def record(task: TaskView) -> dict[str, Any]:
    """Return a task as a service tells it to the console."""
    row: dict[str, Any] = plain(task.model_dump())
    request = {"task_id": task.task_id, "video_url": "/media/a.mp4", "dist_dir": "/media"}
    return row | {"task_id_text": str(task.task_id), "request": request, "inputs": [], "results": []}


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status
    assert list(answer.json()) == ["err_code", "err_msg"]
    assert answer.json()["err_code"] == -1
    sentence: str = answer.json()["err_msg"]
    return sentence


def listed(answer: httpx.Response) -> list[tuple[str, int]]:
    assert answer.status_code == 200
    return [(task["service"], task["task_id"]) for task in answer.json()["tasks"]]
