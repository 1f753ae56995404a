"""The console in front of the router's other paths: an application of its own, whose answers may be long or large.

It stands outside BentoML's, which ends every request after a minute, and outside the contract's middleware, which reads
every body into memory and knows one status for all refusals.
"""

import asyncio
import logging

import uvicorn
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.router.console_api.events import EventPages
from services.router.console_api.file_pages import FilePages
from services.router.console_api.guard import ROOT, SESSION_PATH, TOKEN_HEADER, Guard
from services.router.console_api.media_file import CutShort
from services.router.console_api.session_routes import SessionRoutes
from services.router.console_api.sessions import Sessions
from services.router.console_api.static import serve_static
from services.router.console_api.system_pages import SystemPages
from services.router.console_api.task_pages import TaskPages
from services.router.proxy import Proxy
from shared.errors import Busy, Problem, Rejected, UnreadableMedia
from shared.http.access_log import RequestLog
from shared.http.graceful_shutdown import running_server
from shared.http.middleware import CallerLeft, check_length
from shared.http.responses import (
    MALFORMED,
    TOO_MANY,
    UNAUTHORIZED,
    UNAVAILABLE,
    UNSUPPORTED,
    WRONG_METHOD,
    HttpProblem,
    answer_to,
    status_of,
)
from shared.settings import Settings

_RETRY_SECONDS = "5"

logger = logging.getLogger("bentoml.kinora.console")


class ConsoleFront:
    """The ASGI application around the router's: paths of the console never reach the one inside."""

    def __init__(self, app: ASGIApp, settings: Settings, proxy: Proxy) -> None:
        self._app = app
        self._settings = settings
        self._sweep: asyncio.Task[None] | None = None
        self._server: uvicorn.Server | None = None
        sessions = Sessions(settings)
        self._session_routes = SessionRoutes(settings, sessions)
        self._events = EventPages(proxy, sessions, self._is_stopping)
        self._files = FilePages(settings, self._is_stopping)
        self.routes = [
            *self._files.routes,
            *TaskPages(proxy).routes,
            *SystemPages(settings, proxy).routes,
            Route(f"{ROOT}/events", self._events.listen),
            Route("/", serve_static),
            Route("/console/{name:path}", serve_static),
            Route(SESSION_PATH, self._session_routes.handle, methods=["GET", "POST", "DELETE"]),
        ]
        # A bare router: an application of Starlette's would answer problems itself, as errors of its own.
        router = Router(self.routes if settings.console.enabled else [], redirect_slashes=False)
        self._console: ASGIApp = Guard(router, settings, sessions) if settings.console.enabled else router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http" and _is_ours(scope["path"]):
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open and close what the console holds together with the application inside."""
        self._server = running_server()

        async def send_when_done(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._open()
            elif message["type"].startswith("lifespan.shutdown"):
                await self._close()
            await send(message)

        await self._app(scope, receive, send_when_done)

    def _is_stopping(self) -> bool:
        return self._server is not None and self._server.should_exit

    async def _open(self) -> None:
        if self._settings.console.enabled:
            self._sweep = asyncio.create_task(asyncio.to_thread(self._files.uploads.leftovers.sweep))

    async def _close(self) -> None:
        await self._events.hub.close()
        await self._files.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_log = RequestLog(scope, send)
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await request_log.send(message)

        try:
            check_length(Headers(scope=scope))
            path = scope["path"].rstrip("/") or "/"
            scope = {**scope, "path": path, "raw_path": path.encode(), "app": self}  # "app": have the router raise
            await self._console(scope, receive, note)
        except (Problem, HTTPException) as problem:
            if begun:
                raise
            await self._refusal(_as_problem(problem))(scope, receive, request_log.send)
        except (CallerLeft, ClientDisconnect):
            request_log.remark = "the caller left before its body was complete"
        except CutShort:  # the answer stays incomplete, and its connection is closed: that tells the caller
            request_log.remark = "the answer was cut short"
        except Exception:
            if begun:  # half an answer was sent: only closing the connection tells the caller
                raise
            logger.exception("%s failed", request_log.target)
            await answer_to(HttpProblem(503, "internal_error"), self._settings.language)(
                scope, receive, request_log.send
            )
        finally:
            request_log.emit()

    def _refusal(self, problem: Problem) -> Response:
        status = _status(problem)
        answer = answer_to(problem, self._settings.language, status)
        answer.headers["cache-control"] = "no-store"
        if status == UNAUTHORIZED:
            answer.headers[TOKEN_HEADER] = "true" if self._session_routes.token_needed else "false"
        if status in {TOO_MANY, UNAVAILABLE}:
            answer.headers["retry-after"] = _RETRY_SECONDS
        return answer


def _is_ours(path: str) -> bool:
    return path in {"/", ROOT} or path.startswith((f"{ROOT}/", "/console/"))


def _status(problem: Problem) -> int:
    """Return the true HTTP status of a problem: what the contract answers with 200, too, has one here."""
    if isinstance(problem, HttpProblem):
        return problem.status
    if isinstance(problem, Busy):
        return TOO_MANY
    if isinstance(problem, UnreadableMedia):
        return UNSUPPORTED
    return MALFORMED if isinstance(problem, Rejected) else status_of(problem)


def _as_problem(error: Problem | HTTPException) -> Problem:
    """Return a problem, also for what the router finds: no such path, another method."""
    if isinstance(error, Problem):
        return error
    return HttpProblem(error.status_code, "wrong_method" if error.status_code == WRONG_METHOD else "no_such_path")
