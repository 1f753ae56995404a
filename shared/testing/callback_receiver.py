"""A real HTTP receiver for callbacks, in place of the backend.

The demo waits for its results; the tests and the chaos run read what arrived and when, and let it fail in the ways in
which a backend fails. It uses only the standard library and nothing of the sender.
"""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Behaviour = Literal["ok", "no body", "not json", "err_code -1", "http 500", "redirect", "drop", "slow", "huge"]
ACKNOWLEDGING: frozenset[Behaviour] = frozenset(
    {"ok", "no body", "not json", "huge"}
)  # API.md: 2xx and not another err_code
NOTIFY_PATH = "/api/ai/notify"
NO_CONTENT = 204
HUGE_BYTES = 1 << 20
IDEMPOTENCY_HEADER = "webhook-id"  # Standard Webhooks' name for the key that is constant across retries


@dataclass(frozen=True)
class ReceivedCallback:
    """One request as it arrived, and what it was answered with."""

    at: float  # seconds since the epoch
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    behaviour: Behaviour

    @property
    def key(self) -> str:
        """The idempotency key, empty when the sender gave none."""
        return self.headers.get(IDEMPOTENCY_HEADER, "")

    @property
    def payload(self) -> dict[str, Any]:
        """The callback's keys; empty when the body is not a JSON object."""
        with contextlib.suppress(ValueError):
            payload = json.loads(self.body)
            if isinstance(payload, dict):
                return payload
        return {}

    @property
    def acknowledged(self) -> bool:
        """Whether the answer told the sender not to repeat it."""
        return self.behaviour in ACKNOWLEDGING


def well_behaved(_delivery: ReceivedCallback) -> Behaviour:
    """Acknowledge everything, as a healthy backend does."""
    return "ok"


class Receiver:
    """Listens from the begin of its `with` block to the end, on loopback by default, and records every delivery.

    `behave` is asked for each delivery (whose own `behaviour` then still reads "ok") and may be replaced at any time.
    """

    def __init__(
        self,
        behave: Callable[[ReceivedCallback], Behaviour] = well_behaved,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        slow_seconds: float = 20.0,
    ) -> None:
        self._host = host
        self.behave = behave
        self.slow_seconds = slow_seconds
        self._deliveries: list[ReceivedCallback] = []
        self._arrived = threading.Condition()
        self._leaving = threading.Event()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where callbacks are to be sent."""
        return f"http://{self._host}:{self._server.server_port}{NOTIFY_PATH}"

    @property
    def deliveries(self) -> list[ReceivedCallback]:
        """Everything that arrived so far, oldest first, acknowledged or not."""
        with self._arrived:
            return list(self._deliveries)

    def of(self, task_id: int) -> list[ReceivedCallback]:
        """Return what arrived for one task, oldest first."""
        return [delivery for delivery in self.deliveries if delivery.payload.get("task_id") == task_id]

    def wait_for(self, task_id: int, *, timeout_seconds: float, count: int = 1) -> ReceivedCallback:
        """Return the `count`-th acknowledged delivery of a task.

        Raises:
            TimeoutError: it did not arrive in time.

        """
        deadline = time.monotonic() + timeout_seconds
        with self._arrived:
            while True:
                found = [d for d in self._deliveries if d.acknowledged and d.payload.get("task_id") == task_id]
                if len(found) >= count:
                    return found[count - 1]
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(
                        f"task {task_id}: {len(found)} of {count} callbacks within {timeout_seconds:g} s"
                    )
                self._arrived.wait(remaining)

    def _receive(self, path: str, headers: dict[str, str], body: bytes) -> Behaviour:
        """Decide on one request; it counts as arrived before it is answered, so that a dropped one arrives too."""
        delivery = ReceivedCallback(time.time(), path, headers, body, "ok")
        behaviour = self.behave(delivery)
        if behaviour == "slow":
            self._leaving.wait(self.slow_seconds)
        with self._arrived:
            self._deliveries.append(ReceivedCallback(delivery.at, path, headers, body, behaviour))
            self._arrived.notify_all()
        return behaviour


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a sender that closed the connection during its own request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        behaviour = self.server.receiver._receive(self.path, headers, body)  # noqa: SLF001  # the receiver's own handler
        if behaviour == "drop":
            self._drop()
        elif behaviour == "redirect":
            self._answer(307, b"", location=self.path)
        elif behaviour == "http 500":
            self._answer(500, b"backend is on fire", content_type="text/plain")
        elif behaviour == "err_code -1":
            self._answer(200, b'{"err_code": -1, "err_msg": "not now"}')
        elif behaviour == "no body":
            self._answer(NO_CONTENT, b"")
        elif behaviour == "not json":
            self._answer(200, b"thank you", content_type="text/plain")
        elif behaviour == "huge":
            self._answer(200, b'{"err_code": 0, "err_msg": "' + b"x" * HUGE_BYTES + b'"}')
        else:
            self._answer(200, b'{"err_code": 0, "err_msg": ""}')

    def _answer(
        self, status: int, body: bytes, *, content_type: str = "application/json", location: str | None = None
    ) -> None:
        self.send_response(status)
        if status != NO_CONTENT:
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
        if location is not None:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(body)

    def _drop(self) -> None:
        """Reset the connection instead of answering."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Print nothing: `deliveries` is the log."""
