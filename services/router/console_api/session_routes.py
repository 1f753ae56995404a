"""Signing in and out: a token once, then a cookie that no script can read."""

import asyncio
import time
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.router.console_api.bodies import read_json
from services.router.console_api.guard import session_of, set_cookie
from services.router.console_api.sessions import Session, Sessions
from shared.http.access import AccessPolicy
from shared.http.responses import FORBIDDEN, TOO_MANY, UNAUTHORIZED, HttpProblem
from shared.settings import Settings

_WRONG_SECONDS = 0.5  # how long a wrong token waits for its answer
_WRONG_A_MINUTE = 20
_MOST_CALLERS = 1000  # whose wrong tokens are counted


class SessionRoutes:
    """The endpoint `/api/console/session`."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions
        self._policy = AccessPolicy(settings)
        self._wrong: dict[str, list[float]] = {}

    @property
    def token_needed(self) -> bool:
        return bool(self._settings.access.tokens)

    async def handle(self, request: Request) -> Response:
        """Begin, show or end a session."""
        match request.method:
            case "POST":
                return await self._begin(request)
            case "DELETE":
                session = session_of(request)
                self._sessions.end(session)
                return Response(None, 204, {"set-cookie": set_cookie(request.scope, "", 0)})
        return self._show(session_of(request))

    async def _begin(self, request: Request) -> Response:
        if not self.token_needed and not self._settings.access.is_loopback:
            raise HttpProblem(FORBIDDEN, "console_needs_token")
        token = (await read_json(request)).get("token") or ""
        caller = request.client.host if request.client else ""
        self._check_patience(caller)
        if self.token_needed and not (isinstance(token, str) and self._policy.is_token(token)):
            self._wrong[caller] = [*self._wrong.get(caller, []), time.monotonic()]
            await asyncio.sleep(_WRONG_SECONDS)
            raise HttpProblem(UNAUTHORIZED, "token_wrong")
        session = self._sessions.begin()
        answer = self._show(session)
        answer.headers["set-cookie"] = set_cookie(request.scope, self._sessions.write(session), session.expires)
        return answer

    def _check_patience(self, caller: str) -> None:
        """Raise HttpProblem for an address that has sent many wrong tokens within a minute."""
        since = time.monotonic() - 60
        self._wrong = {who: kept for who, times in self._wrong.items() if (kept := [t for t in times if t > since])}
        while len(self._wrong) > _MOST_CALLERS:
            del self._wrong[next(iter(self._wrong))]
        if len(self._wrong.get(caller, [])) >= _WRONG_A_MINUTE:
            raise HttpProblem(TOO_MANY, "too_many_tries")

    def _show(self, session: Session) -> JSONResponse:
        return JSONResponse(
            {
                "csrf": session.csrf,
                "expires_at": datetime.fromtimestamp(session.expires, UTC).isoformat().replace("+00:00", "Z"),
                "language": self._settings.language,
                "version": self._settings.version,
                "token_needed": self.token_needed,
            },
            headers={"cache-control": "no-store"},
        )
