"""Who may use the console: pages of this machine with a living session, and its CSRF token for what changes things."""

import hmac
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.router.console_api.sessions import COOKIE, Session, Sessions
from shared.http.access import AccessPolicy
from shared.http.responses import FORBIDDEN, UNAUTHORIZED, HttpProblem
from shared.settings import Settings

ROOT = "/api/console"
SESSION_PATH = f"{ROOT}/session"
CSRF_HEADER = "x-kinora-csrf"
TOKEN_HEADER = "kinora-token-needed"  # noqa: S105  # a header's name
_READING = frozenset({"GET", "HEAD"})
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
_SESSION = "kinora.session"  # where the session waits in the scope


class Guard:
    """Goes around the console's application; what it refuses never gets there."""

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions) -> None:
        self._app = app
        self._policy = AccessPolicy(settings)
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._policy.check_page(headers)
        path, method = scope["path"], scope["method"]
        is_endpoint = path == ROOT or path.startswith(f"{ROOT}/")
        if (is_endpoint or method not in _READING) and headers.get("sec-fetch-site") in _FOREIGN_SITES:
            raise HttpProblem(FORBIDDEN, "foreign_origin", origin=headers.get("origin", headers["sec-fetch-site"]))
        if is_endpoint and not (path == SESSION_PATH and method == "POST"):
            session = self._sessions.read(cookie_parser(headers.get("cookie", "")).get(COOKIE))
            if session is None:
                raise HttpProblem(UNAUTHORIZED, "session_over")
            if method not in _READING and not hmac.compare_digest(
                headers.get(CSRF_HEADER, "").encode(), session.csrf.encode()
            ):
                raise HttpProblem(FORBIDDEN, "csrf_missing")
            scope = {**scope, _SESSION: session}
            if renewed := self._sessions.renewed(session):
                send = _with_cookie(send, set_cookie(scope, self._sessions.write(renewed), renewed.expires))
        await self._app(scope, receive, send)


def session_of(request: Request) -> Session:
    """Return the session that the guard found."""
    session: Session = request.scope[_SESSION]
    return session


def set_cookie(scope: Scope, value: str, expires: int) -> str:
    """Return a Set-Cookie header; Secure where the browser speaks https, also with a proxy in between."""
    headers = Headers(scope=scope)
    secure = "https" in {scope.get("scheme"), headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()}
    lasts = f"Max-Age={max(0, expires - int(time.time()))}"
    return f"{COOKIE}={value}; {lasts}; Path={ROOT}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


def _with_cookie(send: Send, cookie: str) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            if "set-cookie" not in headers:  # the end of a session stays its end
                headers.append("set-cookie", cookie)
            message = {**message, "headers": headers.raw}
        await send(message)

    return add
