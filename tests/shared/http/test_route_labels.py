"""What BentoML counts is labelled by route."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from shared.http.route_labels import UNKNOWN, RouteLabels, TruePath


async def _show(request: Request) -> Response:
    return PlainTextResponse(request.scope["path"])


async def _files(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotImplementedError


ROUTES = [
    Route("/livez", _show),
    Mount("/", app=Starlette(routes=[Route("/tasks", _show), Route("/tasks/{task_id}", _show)])),
    Mount("/below", app=Starlette(routes=[Route("/page", _show)])),
    Mount("/assets", app=_files),
]


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/livez", "/livez"),
        ("/tasks", "/tasks"),
        ("/tasks/5", "/tasks/{task_id}"),
        ("/tasks/%20x", "/tasks/{task_id}"),
        ("/tasks/5/more", UNKNOWN),
        ("/below/page", "/below/page"),
        ("/assets/a/b.css", "/assets/{path}"),
        ("/nowhere", UNKNOWN),
        ("", UNKNOWN),
        ("/", UNKNOWN),
    ],
)
def test_a_path_has_the_label_of_its_route(path: str, label: str) -> None:
    assert RouteLabels(_files, ROUTES).label(path) == label


def test_layers_see_the_label_and_the_application_the_path() -> None:
    inside = Starlette(routes=ROUTES)
    seen = []

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await TruePath(inside)(scope, receive, send)

    client = TestClient(RouteLabels(layer, ROUTES))
    assert client.get("/tasks/5").text == "/tasks/5"
    assert client.get("/nowhere").status_code == 404
    assert seen == ["/tasks/{task_id}", UNKNOWN]
