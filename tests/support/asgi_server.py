"""Any ASGI application as a real HTTP server of the test's own process, on a free port of loopback."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from shared.testing.stack import free_port

START_SECONDS = 60.0  # on a machine that is busy with other things


@contextmanager
def serving(app: ASGIApp, prepare: Callable[[uvicorn.Config], None] = lambda _config: None) -> Iterator[str]:
    """Serve until the block ends; yield the URL. `prepare` may change the loaded configuration."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="auto")
    config.load()
    prepare(config)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert thread.is_alive(), "the server ended while it started"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True  # what a test left hanging goes with the server
        thread.join(10)
