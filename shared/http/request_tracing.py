"""The outermost layer of an application: a span for each POST, under the caller's `traceparent` or a trace of its own.

GETs are asked again and again while a task runs, and have none. The route names the span, never the path.
"""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.tracing.traceparent import HEADER
from shared.tracing.tracer import Tracer

_FIRST_ERROR_OF_OURS = 500


class TracedRequests:
    """Goes around an application, which sees the span of a request as its current one, and as its `traceparent`.

    So the router, which passes that header on, has its services' spans under its own. `label` is what names a path.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer, label: Callable[[str], str]) -> None:
        self._app = app
        self._tracer = tracer
        self._label = label

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            await self._trace(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                await asyncio.to_thread(self._tracer.close)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = Headers(scope=scope).getlist(HEADER)
        route = self._label(scope["path"].rstrip("/") or "/")
        facts = {"http.request.method": "POST", "http.route": route}
        # Two of them are as good as none, says the specification.
        with self._tracer.span(f"POST {route}", told[0] if len(told) == 1 else None, "server", facts) as span:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.note({"http.response.status_code": message["status"]})
                    if message["status"] >= _FIRST_ERROR_OF_OURS:
                        span.fail(str(message["status"]))
                await send(message)

            await self._app(_with(scope, span.traceparent), receive, noting)


def _with(scope: Scope, traceparent: str | None) -> Scope:
    headers = MutableHeaders(raw=[pair for pair in scope["headers"] if pair[0].lower() != HEADER.encode()])
    if traceparent is not None:
        headers[HEADER] = traceparent
    return {**scope, "headers": headers.raw}
