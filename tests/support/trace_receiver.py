"""A collector of spans that speaks OTLP over HTTP, in a thread of the test."""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.spans import Told
from tests.support.tiny_service import PATIENCE_SECONDS


class TraceReceiver:
    """Listens from the begin of its `with` block to the end."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What has a stack send its spans here, at once."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def take(self, path: str, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  # optional
            ExportTraceServiceRequest,
        )

        assert path == "/v1/traces"
        self.bodies.append(body)
        request: Any = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            self.spans += [
                Told.of_proto(span, names["service.name"]) for scope in resource.scope_spans for span in scope.spans
            ]

    def wait_for(self, enough: Callable[[list[Told]], bool]) -> list[Told]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not enough(self.spans):
            assert time.monotonic() < deadline, [(span.service, span.name, span.facts) for span in self.spans]
            time.sleep(0.05)
        return list(self.spans)
