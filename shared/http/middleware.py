"""The one place that turns every outcome into the contract's two keys.

It wraps the whole ASGI application of a BentoML service from outside, since only there 404, 405, a handler's timeout
and a crash can be seen. On the way in it decides who may call, bounds the body and reads requests; on the way out it
replaces every error by `{"err_code": -1, "err_msg": "…"}`.
"""

import asyncio
import json
import logging
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import logs
from shared.contract.json_values import parse_object
from shared.contract.request import TaskRequest
from shared.errors import Problem, Rejected
from shared.http import responses
from shared.http.access import AccessPolicy
from shared.http.access_log import Refusals, RequestLog, task_id_of
from shared.http.connection_guard import guard_connections
from shared.http.graceful_shutdown import refuse_when_stopping, running_server
from shared.http.responses import HttpProblem, answer_to, is_answer
from shared.settings import Settings
from shared.vocabulary import Language

BODY_LIMIT_BYTES = 64 * 1024
BODY_SECONDS = 20.0
_DISCARD_LIMIT_BYTES = (
    16 * 1024 * 1024
)  # of a body that is too long: read and drop it, so that its sender sees the answer
_FIRST_ERROR = 400
_FIRST_ERROR_OF_OURS = 500
_KEPT_STATUSES = {
    responses.UNAUTHORIZED: "unauthorized",
    responses.NOT_FOUND: "no_such_path",
    responses.WRONG_METHOD: "wrong_method",
    responses.TOO_LONG: "body_too_long",
    responses.BAD_UPSTREAM: "not_ready",
    responses.UNAVAILABLE: "not_ready",
    responses.TOO_SLOW: "too_slow",
}
_KEPT_HEADERS = {b"allow", b"retry-after", b"www-authenticate"}


logger = logging.getLogger("bentoml.kinora.http")


class ContractMiddleware:
    """The ASGI application around another one."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        requests: Mapping[str, type[TaskRequest]] | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self._app = app
        self._refusals = refusals or Refusals("none")
        self._language = settings.language
        self._callers = AccessPolicy(settings)
        self._requests = requests or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan" and (server := running_server()):
                refuse_when_stopping(server)
                guard_connections(server.config, self._language)
            await self._app(scope, receive, send)
            return
        request_log = RequestLog(scope, send)
        outgoing = _Outgoing(request_log.send)
        with logs.about():
            try:
                await self._serve(scope, receive, outgoing)
            except Problem as problem:
                self._refusals.note(problem)
                await answer_to(problem, self._language)(scope, receive, request_log.send)
            except CallerLeft:
                request_log.remark = "the caller left before its body was complete"
            except Exception:
                if outgoing.begun:  # half an answer was sent: only closing the connection tells the caller
                    raise
                logger.exception("%s failed", request_log.target)
                await self._fail(scope, receive, request_log)
            finally:
                request_log.emit()

    async def _fail(self, scope: Scope, receive: Receive, request_log: RequestLog) -> None:
        problem = _problem_of(500)
        self._refusals.note(problem)
        await answer_to(problem, self._language)(scope, receive, request_log.send)

    async def _serve(self, scope: Scope, receive: Receive, outgoing: "_Outgoing") -> None:
        path = scope["path"].rstrip("/") or "/"
        headers = Headers(scope=scope)
        check_length(headers)
        self._callers.check(path, headers)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpProblem(responses.UNSUPPORTED, "body_encoded")
        body = await read_body(receive)
        logs.from_now_on(task_id=task_id_of(scope["method"], path, body))
        if scope["method"] == "POST" and path in self._requests:
            # The API behind gets the normalised request: exact numbers, no unused fields, one way to write each.
            body = self._requests[path].model_validate(parse_object(body)).model_dump_json().encode()
        await self._app(_as_json(scope, path, body), _replay(body, receive), outgoing)
        if outgoing.refused is not None:
            if not outgoing.refused.speaks_the_contract:
                self._refusals.note(_problem_of(outgoing.refused.status))
            await outgoing.refused.answer(self._language)(scope, receive, outgoing.send)


class _Outgoing:
    """The answer's side: passes answers on, and holds errors back until it knows whether they follow the contract."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.begun = False
        self.refused: _Refused | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= _FIRST_ERROR:
            self.refused = _Refused(message)
        elif self.refused is not None:
            self.refused.body += message.get("body", b"")
        else:
            self.begun = True
            await self.send(message)


class _Refused:
    """An error answer of the application inside."""

    def __init__(self, start: Message) -> None:
        self.status: int = start["status"]
        self.headers: list[tuple[bytes, bytes]] = start["headers"]
        self.body = b""

    def answer(self, language: Language) -> Response:
        """Return the same answer if it already follows the contract, else one that does."""
        if self.speaks_the_contract:
            response = Response(self.body, self.status, media_type="application/json")
        else:
            response = answer_to(_problem_of(self.status), language)
        for name, value in self.headers:
            if name.lower() in _KEPT_HEADERS:
                response.headers[name.decode("latin-1")] = value.decode("latin-1")
        return response

    @property
    def speaks_the_contract(self) -> bool:
        try:
            return is_answer(json.loads(self.body))
        except ValueError:
            return False


class CallerLeft(Exception):
    """The caller closed the connection before its body was complete."""


def _problem_of(status: int) -> Problem:
    """Return the problem for a bare HTTP status; the statuses that the contract has are kept."""
    if status in _KEPT_STATUSES:
        return HttpProblem(status, _KEPT_STATUSES[status], limit=BODY_LIMIT_BYTES)
    if status < _FIRST_ERROR_OF_OURS:
        return Rejected("request_refused", status=status)
    return HttpProblem(responses.UNAVAILABLE, "internal_error")


def check_length(headers: Headers) -> None:
    """Raise HttpProblem for a request with two lengths: a proxy in front may have read the other one.

    What follows would then be somebody's else.
    """
    if "transfer-encoding" in headers and "content-length" in headers:
        raise HttpProblem(responses.MALFORMED, "malformed_http")


async def read_body(receive: Receive) -> bytes:
    """Return the body; raise HttpProblem when it is too long or too slow."""
    body = bytearray()
    length = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more and length <= _DISCARD_LIMIT_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeft
                chunk = message.get("body", b"")
                length += len(chunk)
                if length <= BODY_LIMIT_BYTES:
                    body += chunk
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise HttpProblem(responses.TOO_SLOW, "body_too_slow") from error
    if length > BODY_LIMIT_BYTES:
        raise HttpProblem(responses.TOO_LONG, "body_too_long", limit=BODY_LIMIT_BYTES)
    return bytes(body)


def _as_json(scope: Scope, path: str, body: bytes) -> Scope:
    """Return the scope of the same request without a trailing slash, its body declared as the JSON it must be.

    That also closes the pickle content type that BentoML accepts between its own services.
    """
    headers = MutableHeaders(raw=[pair for pair in scope["headers"] if pair[0].lower() != b"transfer-encoding"])
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(body))
    return {**scope, "path": path, "raw_path": path.encode(), "headers": headers.raw}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read already, then what follows."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
