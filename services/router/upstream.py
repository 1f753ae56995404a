"""One service as the router sees it: the address to which it sends requests, and how they can fail."""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from services.router.metrics import CANCEL, CONSOLE, DOCUMENT, SUBMIT, TASKS, RouterMetrics
from shared.contract.messages import Answer, TaskList
from shared.http.responses import BAD_UPSTREAM, NOT_FOUND, TOO_SLOW, UNAVAILABLE, HttpProblem, is_answer
from shared.vocabulary import ServiceName

SUBMIT_SECONDS = 40.0  # above a service's own limit, so that its 504, which says more, arrives first
ASK_SECONDS = 2.0  # for what a page shows: a dead service must not delay the others
METRICS_SECONDS = 0.8  # a scrape is answered within a second
PROBE_SECONDS = 2.0  # a service on a busy machine is slow, but not dead
_CONNECT_SECONDS = 3.0  # to another host; on this machine nothing is far, but both ends may be slow
_SUBMISSIONS_AT_ONCE, _QUESTIONS_AT_ONCE = 32, 16  # connections; more at once would only starve each other
_FORWARDED = ("authorization", "traceparent", "accept-language")


class Unreachable(HttpProblem):
    """Nothing listens there, so another version may get the request; it was sent at most once, never answered."""


class Upstream:
    """A service at a URL; `file:///…` is a unix socket of this machine."""

    def __init__(self, service: ServiceName, url: str, metrics: RouterMetrics) -> None:
        self.service = service
        self._url = url
        self._metrics = metrics
        metrics.declare(service, url)
        socket = unquote(urlsplit(url).path) if url.startswith("file:") else None
        self._connect_seconds = math.inf if socket else _CONNECT_SECONDS
        # Apart: submissions that wait for a busy service keep nobody from asking whether it is ready.
        self._submissions = _client(url, socket, _SUBMISSIONS_AT_ONCE)
        self._questions = _client(url, socket, _QUESTIONS_AT_ONCE)

    async def close(self) -> None:
        await self._submissions.aclose()
        await self._questions.aclose()

    async def submit(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Pass a documented POST on, byte for byte; return an answer of the contract or raise HttpProblem."""
        return self._answer(await self._count(SUBMIT, "POST", path, headers, SUBMIT_SECONDS, content=body))

    async def cancel(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> httpx.Response:
        """Pass a cancel on; return an answer of the contract or raise HttpProblem."""
        return self._answer(await self._count(CANCEL, "POST", path, headers, ASK_SECONDS, params=query))

    async def tasks(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> TaskList | Answer:
        """Return the service's list, empty if it has no such task, or its refusal."""
        response = await self._count(TASKS, "GET", path, headers, ASK_SECONDS, params=query)
        if response.status_code == NOT_FOUND:
            return TaskList(tasks=[])
        if response.is_server_error:  # not ready, or without its storage: a list without it is better than none
            raise HttpProblem(response.status_code, "service_down", service=self.service)
        try:
            if is_answer(response.json()):
                return Answer.model_validate_json(response.content)
            return TaskList.model_validate_json(response.content)
        except ValueError as error:
            raise self._strange() from error

    async def ask(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, method: str = "GET"
    ) -> dict[str, Any]:
        """Return the object that a service answers with, the contract's own included; raise HttpProblem.

        What it does not know, or an older version does not offer, is a problem of status 404.
        """
        response = await self._count(CONSOLE, method, path, headers, ASK_SECONDS, params=query)
        try:
            found = response.json()
        except ValueError as error:
            raise self._strange() from error
        if response.status_code == NOT_FOUND:
            raise HttpProblem(NOT_FOUND, "no_such_path")
        if not response.is_success:
            raise HttpProblem(response.status_code, "service_down", service=self.service)
        if not isinstance(found, dict):
            raise self._strange()
        return found

    async def document(self, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the service's OpenAPI document."""
        response = await self._count(DOCUMENT, "GET", path, headers, ASK_SECONDS)
        if not response.is_success:
            raise self._strange()
        try:
            found: dict[str, Any] = response.json()
        except ValueError as error:
            raise self._strange() from error
        return found

    async def ready(self) -> bool:
        """Whether the service says that it is ready, within a short time."""
        try:
            response = await self._send("GET", "/readyz", {}, PROBE_SECONDS)
        except HttpProblem:
            return False
        return response.is_success

    async def metrics(self, headers: Mapping[str, str]) -> str:
        """Return the service's metrics; none if they do not arrive at once."""
        try:
            response = await self._send("GET", "/metrics", headers, METRICS_SECONDS)
        except HttpProblem:
            return ""
        return response.text if response.is_success else ""

    async def _count(self, route: str, *request: Any, **content: Any) -> httpx.Response:
        """Send a request that is counted in the metrics."""
        with self._metrics.watch(self.service, self._url, route) as outcome:
            response = await self._send(*request, **content)
            outcome.status = str(response.status_code)
            return response

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], seconds: float, **content: Any
    ) -> httpx.Response:
        """Send a request, twice if the connection broke: posting a task again, or cancelling it again, is harmless."""
        client = self._submissions if "content" in content else self._questions
        request = client.build_request(
            method,
            path,
            headers={name: headers[name] for name in _FORWARDED if name in headers},
            timeout=httpx.Timeout(seconds, connect=min(seconds, self._connect_seconds)),
            **content,
        )
        try:
            try:
                return await client.send(request)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                return await client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(BAD_UPSTREAM, "service_down", service=self.service) from error
        except httpx.TimeoutException as error:
            raise HttpProblem(TOO_SLOW, "service_slow", service=self.service) from error
        except httpx.TransportError as error:
            raise HttpProblem(BAD_UPSTREAM, "service_down", service=self.service) from error

    def _answer(self, response: httpx.Response) -> httpx.Response:
        try:
            if is_answer(response.json()):
                return response
        except ValueError:
            pass
        raise self._strange()

    def _strange(self) -> HttpProblem:
        return HttpProblem(BAD_UPSTREAM, "service_strange", service=self.service)


def _client(url: str, socket: str | None, at_once: int) -> httpx.AsyncClient:
    """Return a client that opens so many connections; further requests wait for one of them."""
    # Shorter than the five seconds after which a service closes an idle connection: no request meets a closed one.
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once, keepalive_expiry=2)
    return httpx.AsyncClient(
        base_url="http://localhost" if socket else url,
        transport=httpx.AsyncHTTPTransport(uds=socket, limits=limits, trust_env=False),
        trust_env=False,
    )


def absent(service: ServiceName) -> HttpProblem:
    """Return the problem of a documented service that neither runs here nor has a URL."""
    return HttpProblem(UNAVAILABLE, "service_absent", service=service, setting=f"KINORA_{service.upper()}_URL")
