"""A bound on open connections and on the time a request's head may take: a caller who sends nothing keeps nobody out.

Every connection costs a file descriptor, and a process without one can neither take the next connection nor open a
file. All of this comes before any token could be asked for.
"""

import asyncio
import functools
import logging
import resource
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared.errors import Problem
from shared.http.responses import HEAD_TOO_SLOW, MALFORMED, UNAVAILABLE, HttpProblem, answer_to
from shared.vocabulary import Language

HEAD_SECONDS = 10.0
UNREAD_SECONDS = 5.0  # of a stop: how long an answer that its caller does not read is waited for
MOST_CONNECTIONS = 4096
_OTHER_DESCRIPTORS = 256  # of libraries, sockets to the database, files being read
_DESCRIPTORS_EACH = 2  # the router opens one more to the service

logger = logging.getLogger("bentoml.kinora.connections")


def guard_connections(config: uvicorn.Config, language: Language) -> None:
    """Guard a server that is starting and has not begun to listen; raise this process's limit of descriptors."""
    limit = _connection_limit(_raise_descriptor_limit())
    config.http_protocol_class = functools.partial(  # type: ignore[assignment]  # called, never inherited from
        GuardedConnection, guard=ConnectionGuard(limit), language=language
    )
    config.ws_protocol_class = None  # nothing here speaks it: a request for an upgrade is answered as any other
    config.backlog = min(config.backlog, max(1, limit // 2))  # so many are taken at one go, before any can be counted


class ConnectionGuard:
    """Which connections of one server are open, and which of them wait for their caller, the longest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[GuardedConnection] = set()
        self._waiting: dict[GuardedConnection, None] = {}

    def admit(self, connection: "GuardedConnection") -> bool:
        """Take a new connection, in place of the one that has waited longest where there is no more room."""
        if len(self._open) >= self._limit:
            if not self._waiting:
                return False
            longest = next(iter(self._waiting))
            self.forget(longest)
            longest.transport.abort()
        self._open.add(connection)
        return True

    def waits(self, connection: "GuardedConnection") -> None:
        """Note that a connection has no request that is being served."""
        if connection in self._open:
            self._waiting.setdefault(connection)

    def is_served(self, connection: "GuardedConnection") -> None:
        self._waiting.pop(connection, None)

    def forget(self, connection: "GuardedConnection") -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class GuardedConnection(H11Protocol):
    """uvicorn's connection, which ends when its caller takes too long and says so in the contract's words."""

    def __init__(self, *, guard: ConnectionGuard, language: Language, **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard
        self._language = language
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if self._guard.admit(self):
            self._look()
        else:
            self._end(HttpProblem(UNAVAILABLE, "too_many_connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.forget(self)
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)
            self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_served:
            self._look()
        else:  # kept alive; uvicorn has its own clock until more is sent
            self._guard.waits(self)

    def shutdown(self) -> None:
        """Let the request that is served end; who does not read the answer holds up no stop."""
        super().shutdown()
        self.loop.call_later(UNREAD_SECONDS, self._give_up_unread)

    def _give_up_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words are not the contract's
        """Answer what is not HTTP."""
        self._end(HttpProblem(MALFORMED, "malformed_http"))

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a caller could fill the log with it."""

    @property
    def _is_served(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        """Run the clock exactly while no request is being served."""
        if self._is_served:
            self._guard.is_served(self)
            self._stop_clock()
        elif self._deadline is None and not self.transport.is_closing():
            self._guard.waits(self)
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _stop_clock(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._end(HttpProblem(HEAD_TOO_SLOW, "head_too_slow"))

    def _end(self, problem: Problem) -> None:
        """Answer where there was no answer yet, then close."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            if self.cycle is not None:  # its body turned out to be no HTTP: what it would answer comes too late
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            response = answer_to(problem, self._language)
            response.headers["connection"] = "close"
            head = h11.Response(status_code=response.status_code, headers=response.raw_headers)
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; return what there is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        logger.warning("the limit of open files stays %s: %s", soft, error)
        return soft
    return hard


def _connection_limit(descriptors: int) -> int:
    if descriptors == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, (descriptors - _OTHER_DESCRIPTORS) // _DESCRIPTORS_EACH))
