"""`kinora serve` as a child process: used by the demo, the tests, the benchmarks and the chaos run."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
import psutil

from shared.testing import processes

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 60
ROOT = Path(__file__).parents[2]
ACCESS_MARK = "(scheme=http,"  # how BentoML logs a request


class StackFailed(RuntimeError):
    """The stack did not start; the message ends with the last lines of its log."""


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Stack:
    """Router and services of one state directory, started as a user starts them.

    `environment` is added to the caller's own, from which every `KINORA_` and `OTEL_` variable is removed first, so
    that the stack depends only on what is written here.
    """

    state_dir: Path
    media_roots: tuple[Path, ...]
    callback_url: str
    port: int = field(default_factory=free_port)
    environment: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None  # `services.NAME.service:CLASS`, served alone; None is `kinora serve` with all of it
    log: Path = field(init=False)
    process: "subprocess.Popen[bytes] | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.log = self.state_dir.with_name(self.state_dir.name + ".log")

    @property
    def url(self) -> str:
        """Where the router answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and return at once; its output is appended to `log`."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                cwd=ROOT if self.target else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.full_environment(),
                start_new_session=True,
            )
        return self

    def _command(self) -> list[str]:
        if self.target is None:
            return [str(Path(sys.executable).with_name("kinora")), "serve"]
        options = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "bentoml", "serve", self.target, *options]

    def full_environment(self) -> dict[str, str]:
        """Return the environment in which `kinora` commands use this stack."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KINORA_", "OTEL_"))}
        return inherited | {
            "BENTOML_DO_NOT_TRACK": "True",
            "KINORA_HOST": "127.0.0.1",
            "KINORA_PORT": str(self.port),
            "KINORA_STATE_DIR": str(self.state_dir),
            "KINORA_MEDIA_ROOTS": ":".join(map(str, self.media_roots)),
            "KINORA_CALLBACK_URL": self.callback_url,
            **self.environment,
        }

    def wait_ready(self, timeout_seconds: float = READY_SECONDS) -> Self:
        """Return once `/readyz` says 200.

        Raises:
            StackFailed: it ended, or did not become ready in time.

        """
        deadline = time.monotonic() + timeout_seconds
        while not self.ready():
            if self.process is None or self.process.poll() is not None:
                raise StackFailed(f"kinora serve ended before it was ready\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StackFailed(f"kinora serve is not ready after {timeout_seconds:g} s\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)
        return self

    def ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def processes(self) -> list[psutil.Process]:
        """Return every live process of this stack, orphans of killed parents included."""
        return processes.with_environment("KINORA_STATE_DIR", str(self.state_dir))

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> int | None:
        """Send SIGTERM, wait, and return the exit status; whatever outlives the time limit is killed (None)."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill all remaining processes of this stack (PostgreSQL with the grace that it needs to sync)."""
        left = self.processes()
        database = [process for process in left if "postgres" in processes.command(process).partition(" ")[0]]
        for process in left:
            if process not in database:
                processes.send(process, signal.SIGKILL)
        processes.end(database, grace_seconds=5)
        if self.process is not None:
            self.process.wait(timeout=10)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines of the log without those of single requests, for the message of an error."""
        if not self.log.exists():
            return ""
        telling = [line for line in self.log.read_text(errors="replace").splitlines() if ACCESS_MARK not in line]
        return "\n".join(telling[-lines:])

    @contextmanager
    def running(self, timeout_seconds: float = READY_SECONDS) -> Iterator[Self]:
        """Start, wait until ready, and stop at the end whatever happened."""
        try:
            yield self.start().wait_ready(timeout_seconds)
        finally:
            self.stop()

    def client(self, timeout_seconds: float = 30) -> httpx.Client:
        """Return a client whose paths are the router's; proxies of the environment are ignored."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=timeout_seconds)
