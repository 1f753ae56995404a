"""Changes of tasks as server-sent events: the services are asked while somebody listens, wherever they run."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.router.console_api.guard import session_of
from services.router.console_api.sessions import Session, Sessions
from services.router.console_api.task_pages import newest_first
from services.router.proxy import Proxy
from shared.errors import Problem
from shared.http.record_routes import CHANGES_PATH
from shared.http.responses import UNAVAILABLE, HttpProblem
from shared.vocabulary import ServiceName

MOST_LISTENERS = 32
ASK_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 2000
_WAITING_EVENTS = 100  # of one listener; who takes no more begins again
_ETA_STEP_SECONDS = 5.0  # an expected time that moves by less is no news
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}

logger = logging.getLogger("bentoml.kinora.console")

Changes = tuple[list[dict[str, Any]], list[ServiceName]]  # the rows, and who did not answer


class EventHub:
    """Asks for changes while anybody listens, once for all listeners."""

    def __init__(self, read: Callable[[], Awaitable[Changes]], stopping: Callable[[], bool]) -> None:
        self._read = read
        self._stopping = stopping
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def listen(self, living: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield events until `living` is false, the process stops, or the listener takes none; raise HttpProblem."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise HttpProblem(UNAVAILABLE, "too_many_listeners")
        events: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_EVENTS)
        self._listeners.add(events)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._ask_on(), name="console-events")
        return self._sent(events, living)

    async def close(self) -> None:
        """End every stream and stop asking."""
        self._listeners.clear()
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    async def _sent(self, events: "asyncio.Queue[bytes]", living: Callable[[], bool]) -> AsyncIterator[bytes]:
        spoken = time.monotonic()
        try:
            yield f"retry: {RETRY_MILLISECONDS}\n".encode() + event("hello", {"unreachable": []})
            while events in self._listeners and living() and not self._stopping():
                try:
                    said = await asyncio.wait_for(events.get(), ASK_SECONDS)
                except TimeoutError:
                    if time.monotonic() - spoken < HEARTBEAT_SECONDS:
                        continue
                    said = b": still here\n\n"
                spoken = time.monotonic()
                yield said
        finally:
            self._listeners.discard(events)

    async def _ask_on(self) -> None:
        """Ask again and again; tell what differs from the answer before, everything at first."""
        told: dict[str, str] = {}
        away: list[ServiceName] = []
        while self._listeners and not self._stopping():
            begun = time.monotonic()
            try:
                rows, missing = await self._read()
                now = {row["id"]: _news(row) for row in rows}
                fresh = [row for row in rows if told.get(row["id"]) != now[row["id"]]]
                if fresh or missing != away:
                    self._tell(event("tasks", {"rows": fresh, "unreachable": missing}))
                # Of a service that did not answer, what was told before stays told.
                told, away = (told | now if missing else now), missing
            except Exception:  # the next question may be answered
                logger.exception("asking for changes failed; asking again")
            await asyncio.sleep(max(0.05, ASK_SECONDS - (time.monotonic() - begun)))

    def _tell(self, said: bytes) -> None:
        for events in list(self._listeners):
            try:
                events.put_nowait(said)
            except asyncio.QueueFull:
                self._listeners.discard(events)


class EventPages:
    """The endpoint `/api/console/events`."""

    def __init__(self, proxy: Proxy, sessions: Sessions, stopping: Callable[[], bool]) -> None:
        self._proxy = proxy
        self._sessions = sessions
        self.hub = EventHub(self._changes, stopping)

    async def listen(self, request: Request) -> Response:
        """Answer with a stream that ends with its session."""
        session = session_of(request)
        events = await self.hub.listen(lambda: self._lives(session))
        return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)

    def _lives(self, session: Session) -> bool:
        return self._sessions.read(self._sessions.write(session)) is not None

    async def _changes(self) -> Changes:
        try:
            found, missing = await self._proxy.ask(
                None, lambda service: service.records(CHANGES_PATH, {}, self._proxy.own_headers)
            )
            return newest_first(found.values()), sorted(missing)
        except Problem:  # nobody answers
            return [], sorted(self._proxy.names)


def event(name: str, data: Any) -> bytes:
    """Return one event; JSON has no line breaks."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _news(row: dict[str, Any]) -> str:
    """Return what makes a row worth telling."""
    eta = row["eta_seconds"]
    return json.dumps({**row, "eta_seconds": None if eta is None else round(eta / _ETA_STEP_SECONDS)})
