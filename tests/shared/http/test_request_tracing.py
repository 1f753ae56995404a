"""A span for each POST: under the caller's, named by its route, seen by what is inside, and on to the next service."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from shared.http.request_tracing import TracedRequests
from shared.http.route_labels import RouteLabels
from shared.tracing import span as tracing
from shared.tracing.tracer import Tracer
from tests.support.spans import SpanMemory

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = CALLER.split("-")[1]


async def echo(request: Request) -> Response:
    """Answer with the traceparent that arrived, which is that of the current span."""
    arrived = request.headers.get("traceparent", "")
    assert (tracing.current().traceparent or "") == arrived or request.method == "GET"
    return PlainTextResponse(arrived, int(request.query_params.get("status", "200")))


async def breaks(_request: Request) -> Response:
    raise ZeroDivisionError("/media/secret.mp4")


def client(tracer: Tracer) -> httpx.AsyncClient:
    routes = [
        Route("/echo", echo, methods=["GET", "POST"]),
        Route("/tasks/{task_id}/cancel", echo, methods=["POST"]),
        Route("/breaks", breaks, methods=["POST"]),
    ]
    app = TracedRequests(Starlette(routes=routes), tracer, RouteLabels(Starlette(), routes).label)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


async def test_a_post_has_a_span_under_the_callers_and_passes_its_own_place_on() -> None:
    memory = SpanMemory()
    async with client(memory.tracer) as caller:
        answer = await caller.post("/echo", headers={"TraceParent": CALLER, "authorization": "Bearer secret"})
    told = memory.named("POST /echo")
    assert (told.trace_id, told.parent_id) == (TRACE, CALLER.split("-")[2])
    assert answer.text == f"00-{TRACE}-{told.span_id}-01"
    assert "secret" not in repr(told)


async def test_a_path_is_told_by_its_route() -> None:
    memory = SpanMemory()
    async with client(memory.tracer) as caller:
        answer = await caller.post("/tasks/17/cancel", params={"status": "503"})
        await caller.post("/media/secret.mp4")
    cancel, unknown = memory.spans
    assert (cancel.name, unknown.name) == ("POST /tasks/{task_id}/cancel", "POST unknown")
    assert answer.text == f"00-{cancel.trace_id}-{cancel.span_id}-01"
    assert cancel.facts == {
        "http.request.method": "POST",
        "http.route": "/tasks/{task_id}/cancel",
        "http.response.status_code": 503,
        "error.type": "503",
    }


async def test_a_get_is_not_told_and_its_header_stays() -> None:
    memory = SpanMemory()
    async with client(memory.tracer) as caller:
        assert (await caller.get("/echo", headers={"traceparent": CALLER})).text == CALLER
    assert memory.spans == []


async def test_what_breaks_is_told_without_its_words() -> None:
    memory = SpanMemory()
    async with client(memory.tracer) as caller:
        with pytest.raises(ZeroDivisionError):
            await caller.post("/breaks")
    told = memory.named("POST /breaks")
    assert told.failed
    assert "secret" not in repr(told)


@pytest.mark.parametrize(
    ("headers", "passed_on"),
    [([("traceparent", CALLER)], CALLER), ([("traceparent", "x")], ""), ([("traceparent", CALLER)] * 2, ""), ([], "")],
)
async def test_without_an_endpoint_a_usable_header_is_passed_on(headers: list[tuple[str, str]], passed_on: str) -> None:
    async with client(Tracer()) as caller:
        assert (await caller.post("/echo", headers=headers)).text == passed_on
