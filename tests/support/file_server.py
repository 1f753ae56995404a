"""A real HTTP server with one file at each path, which serves ranges as web servers do, and fails as they do."""

import contextlib
import gzip
import http.server
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 64 << 10  # bytes that are written at a time


@dataclass
class ServedFile:
    """A file and how it is served."""

    content: bytes = b""
    etag: str = '"v1"'  # empty: none
    modified: str = ""  # the date of the header Last-Modified
    ranges: bool = True
    status: int = 200
    location: str = ""  # a redirect
    breaks_after: int | None = None  # bytes of a body, then the connection ends
    breaks: int = 1_000_000  # so often
    pause_seconds: float = 0.0  # after each block of a body
    packed: bool = False
    tells_length: bool = True
    repeats_validator: bool = True  # in an answer of a part
    unasked: bool = False  # answers as if a part had been asked for

    def goes_on(self, version: str) -> bool:
        """Whether a part may be sent to whoever has the beginning of that version."""
        return self.ranges and (not version or version in {self.etag, self.modified})


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]

    @property
    def first_byte(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else 0


@dataclass
class FileServer:
    """What is served, by path without the query; and what was asked for."""

    files: dict[str, ServedFile] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    scheme: str = "http"
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def of(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.partition("?")[0] == path]

    def wait_for(self, path: str, count: int = 1, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while len(self.of(path)) < count:
            assert time.monotonic() < deadline, self.asked
            time.sleep(0.02)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], served: FileServer) -> None:
        self.served = served
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, *_arguments: object) -> None:
        """A client that has gone is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
        self.server.served.asked.append(asked)
        file = self.server.served.files.get(self.path.partition("?")[0])
        if file is None:
            self.send_error(404)
        elif file.location:
            self.send_response(file.status)
            self.send_header("Location", file.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif file.status != 200:
            self.send_error(file.status)
        else:
            self._send(file, asked)

    def _send(self, file: ServedFile, asked: Asked) -> None:
        content = gzip.compress(file.content) if file.packed else file.content
        first = asked.first_byte if file.goes_on(asked.headers.get("if-range", "")) else 0
        if first and first >= len(content):
            self.send_error(416)
            return
        is_part = first > 0 or file.unasked
        headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if is_part else {}
        if file.repeats_validator or not is_part:
            headers |= {"ETag": file.etag, "Last-Modified": file.modified}
        headers |= {"Content-Encoding": "gzip"} if file.packed else {}
        headers |= {"Content-Length": str(len(content) - first)} if file.tells_length else {"Connection": "close"}
        self.send_response(206 if is_part else 200)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self._body(file, content[first:])

    def _body(self, file: ServedFile, body: bytes) -> None:
        if file.breaks_after is not None and file.breaks > 0:
            file.breaks -= 1
            body = body[: file.breaks_after]
            self.close_connection = True
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for begin in range(0, len(body), BLOCK):
                self.wfile.write(body[begin : begin + BLOCK])
                if file.pause_seconds and self.server.served.closing.wait(file.pause_seconds):
                    return

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def file_server(certificate: tuple[Path, Path] | None = None, *, host: str = "127.0.0.1") -> Iterator[FileServer]:
    """Serve on loopback for the length of a block; with the paths of a certificate and its key over TLS."""
    served = FileServer(scheme="https" if certificate else "http")
    with _Server((host, 0), served) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        served.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            served.closing.set()
            server.shutdown()
            thread.join()
