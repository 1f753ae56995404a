"""A caller who sends nothing, too slowly or no HTTP gets a word and is let go; others are served meanwhile."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.http import connection_guard
from shared.http.connection_guard import guard_connections
from shared.http.middleware import ContractMiddleware
from shared.settings import Settings
from shared.testing.stack import free_port
from tests.support.asgi_server import serving

ROOT = Path(__file__).parents[3]
WHOLE = b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HALF = b"GET /echo HTTP/1.1\r\nHost: 127"
PATIENCE_SECONDS = 60.0


async def _echo(request: Request) -> Response:
    return JSONResponse({"length": len(await request.body())})


APP = ContractMiddleware(Starlette(routes=[Route("/echo", _echo, methods=["GET", "POST"])]), Settings())


@contextmanager
def guarded(monkeypatch: pytest.MonkeyPatch, *, seconds: float = 60, connections: int = 4096) -> Iterator[str]:
    """Serve with the guard; the application's own limits do not matter here."""
    monkeypatch.setattr(connection_guard, "HEAD_SECONDS", seconds)
    monkeypatch.setattr(connection_guard, "MOST_CONNECTIONS", connections)

    def prepare(config: uvicorn.Config) -> None:
        guard_connections(config, "en")

    with serving(APP, prepare) as url:
        yield url


@contextmanager
def connected(url: str, sent: bytes = b"") -> Iterator[socket.socket]:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        yield connection


def heard_until(connection: socket.socket, end: bytes) -> None:
    """Wait for an answer that ends so, on a connection that stays open."""
    answer = b""
    while not answer.endswith(end):
        part = connection.recv(65536)
        assert part, answer
        answer += part


def send_slowly(connection: socket.socket) -> None:
    """Send byte after byte until nobody listens any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        connection.sendall(b"x")
        time.sleep(0.1)


def heard(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def refusal(answer: bytes, status: int) -> str:
    """Check that the one answer is the contract's refusal; return its sentence."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in head.lower()
    content = json.loads(body)
    assert list(content) == ["err_code", "err_msg"]
    assert content["err_code"] == -1
    return str(content["err_msg"])


@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    with guarded(monkeypatch, seconds=0.2) as url, connected(url, sent) as connection:
        assert refusal(heard(connection), 408) == "the request's header did not arrive in time"


def test_a_head_that_comes_byte_by_byte_has_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = pytest.raises((BrokenPipeError, ConnectionResetError))
    with guarded(monkeypatch, seconds=1) as url, connected(url) as connection, gone:
        send_slowly(connection)


def test_a_second_head_on_a_kept_connection_has_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded(monkeypatch, seconds=0.3) as url, connected(url, WHOLE) as connection:
        heard_until(connection, b'{"length":0}')
        connection.sendall(HALF)
        assert refusal(heard(connection), 408)


def test_a_request_that_takes_long_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
    with guarded(monkeypatch, seconds=0.2) as url, connected(url, head + b"ab") as connection:
        time.sleep(0.6)
        connection.sendall(b"cd")
        assert b'{"length":4}' in heard(connection)


def test_a_connection_too_many_takes_the_place_of_the_one_that_has_waited_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with guarded(monkeypatch, connections=3) as url, ExitStack() as stack:
        half = [stack.enter_context(connected(url, HALF)) for _ in range(12)]
        assert httpx.get(f"{url}/echo").json() == {"length": 0}
        assert half[0].recv(1) == b""  # let go without a word


def test_where_all_are_being_served_a_connection_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\n"
    with guarded(monkeypatch, connections=1) as url, connected(url, head) as served:
        served.sendall(b"ab")
        time.sleep(0.3)
        with connected(url) as other:
            assert refusal(heard(other), 503).startswith("busy: too many connections")
        served.sendall(b"cd")
        heard_until(served, b'{"length":4}')


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /echo HTTP/1.1\r\n\r\n",  # without a host
        b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nnothing hexadecimal\r\n",
        b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
)
def test_what_is_not_http_is_refused_in_the_contracts_words_once(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    with guarded(monkeypatch) as url, connected(url, sent + WHOLE) as connection:
        assert refusal(heard(connection), 400) == "the request is not valid HTTP"
        assert httpx.get(f"{url}/echo").json() == {"length": 0}


def test_a_websocket_upgrade_is_answered_as_any_other_request(monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
    }
    with guarded(monkeypatch) as url:
        answer = httpx.get(f"{url}/nowhere", headers=upgrade)
        assert (answer.status_code, answer.json()) == (
            404,
            {"err_code": -1, "err_msg": "this path does not exist"},
        )


@pytest.mark.slow
def test_a_thousand_half_sent_requests_keep_nobody_out(tmp_path: Path) -> None:
    """A whole service with 1,024 descriptors, as `ulimit -n 1024` gives it, and 1,100 connections that say nothing."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "tests.support.failing_service:Slow", "--port", str(port)]
    environment = os.environ | {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(tmp_path)}
    url = f"http://127.0.0.1:{port}"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with ExitStack() as stack:
        process = subprocess.Popen(
            ["bash", "-c", 'ulimit -n 1024; exec "$@"', "bash", *command],
            cwd=ROOT,
            env=environment,
            stdout=stack.enter_context((tmp_path / "log").open("wb")),
            stderr=subprocess.STDOUT,
        )
        stack.callback(process.wait, 20)
        stack.callback(process.send_signal, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _is_ready(url):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        for _ in range(1100):
            stack.enter_context(connected(url, HALF))
        for _ in range(20):
            assert httpx.get(f"{url}/livez", timeout=10).is_success
        assert "Too many open files" not in (tmp_path / "log").read_text()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False
