"""A router with its console, before services as a test wants them: real HTTP, and a browser's session."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from services.router.console_api.document import describe_console
from services.router.console_api.front import ConsoleFront
from services.router.console_api.guard import CSRF_HEADER
from services.router.proxy import Proxy
from shared.http.middleware import ContractMiddleware
from shared.settings import Settings
from shared.upstreams import WeightedUpstream
from shared.vocabulary import ServiceName
from tests.support.asgi_server import serving

SESSION = "/api/console/session"


@dataclass
class Console:
    """What a browser has of the console: cookies, and the session's CSRF token once it has signed in."""

    client: httpx.Client

    def sign_in(self, token: str = "") -> dict[str, Any]:
        answer = self.client.post(SESSION, json={"token": token})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        self.client.headers[CSRF_HEADER] = found["csrf"]
        return found

    def get(self, endpoint: str, /, **query: object) -> httpx.Response:
        return self.client.get(f"/api/console/{endpoint}", params={name: str(value) for name, value in query.items()})


@contextmanager
def serving_console(settings: Settings, urls: Mapping[ServiceName, str] | None = None) -> Iterator[Console]:
    """Serve a router over services at these URLs until the block ends."""
    shares = {name: [WeightedUpstream(url, 1)] for name, url in (urls or {}).items()}
    proxy = Proxy(lambda _settings: shares, lambda _settings: describe_console(settings))
    front = ConsoleFront(ContractMiddleware(proxy.app, settings), settings, proxy)
    with serving(front) as url, httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        yield Console(client)
