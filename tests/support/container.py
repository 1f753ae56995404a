"""A service's image at work: started by its own entrypoint, watched, stopped and killed as an engine does it."""

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import httpx
import psutil

from shared.testing import processes
from shared.testing.stack import free_port

READY_SECONDS = 240.0
STOP_SECONDS = 300.0


class Launch(Protocol):
    """How an image is started."""

    @property
    def name(self) -> str: ...

    def invocation(self, settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return the command that starts it with these settings, and the environment of that command."""


L = TypeVar("L", bound=Launch)


@dataclass
class Container(Generic[L]):
    """An image at work on loopback.

    `settings` is what an operator gives, `arguments` and `workdir` what an orchestrator may; everything else comes from
    the image.
    """

    image: L
    folder: Path  # where it is started; its log is beside it
    settings: Mapping[str, str]
    arguments: tuple[str, ...] = ()  # another command than the image's own
    workdir: Path | None = None  # another than `folder`
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = field(init=False, default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def start(self) -> "Container[L]":
        self.folder.mkdir(parents=True)
        own = {
            "BENTOML_HOST": "127.0.0.1",
            "BENTOML_PORT": str(self.port),
            "KINORA_TEST_CONTAINER": str(self.folder),  # how its processes are found again
        }
        command, environment = self.image.invocation(own | dict(self.settings))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                cwd=self.workdir or self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def wait_ready(self) -> "Container[L]":
        assert self.process
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready():
            assert self.process.poll() is None, f"{self.image.name} ended\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"{self.image.name} is not ready\n{self.log.read_text()[-4000:]}"
            time.sleep(0.2)
        return self

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=2).is_success
        except httpx.TransportError:
            return False

    def processes(self) -> list[psutil.Process]:
        return processes.with_environment("KINORA_TEST_CONTAINER", str(self.folder))

    def stop(self) -> int:
        """Send SIGTERM to the first process as an engine does; return the exit status, or raise TimeoutExpired."""
        assert self.process
        first = next((found for found in self.processes() if _is_init(found)), None)
        if first is None:
            self.process.send_signal(signal.SIGTERM)
        else:
            processes.send(first, signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        processes.end(self.processes(), grace_seconds=2)
        if self.process:
            self.process.wait(10)


def _is_init(process: psutil.Process) -> bool:
    return Path(processes.command(process).partition(" ")[0]).name == "tini"
