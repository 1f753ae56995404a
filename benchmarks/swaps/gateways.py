"""nginx and HAProxy as an operator runs them, with the configurations of deploy/gateway."""

import csv
import os
import shutil
import signal
import socket
import string
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import psutil

from shared.testing.processes import command
from shared.testing.stack import free_port
from shared.vocabulary import SERVICES

CONFIGURATIONS = Path(__file__).parents[2] / "deploy" / "gateway"
PATIENCE_SECONDS = 20.0
PROGRAMS = "nginx", "haproxy"


def missing() -> list[str]:
    """Return the gateways that are not installed here."""
    return [name for name in PROGRAMS if _program(name) is None]


@dataclass(frozen=True)
class Version:
    """Where a version listens, `host:port`, and its weight."""

    address: str
    weight: int


class Gateway(Protocol):
    """A gateway in front of the versions of upscale and of a router."""

    url: str

    def split(self, versions: Sequence[Version]) -> None:
        """Give the versions these shares from now on; returns when every new request is decided by them."""


class Nginx(AbstractContextManager["Nginx"]):
    """nginx with `nginx.conf.template`, rendered as envsubst renders it."""

    def __init__(self, folder: Path, versions: Sequence[Version], router: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._router = router
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._render(versions)
        # The workers of a root's nginx must be root, too, to enter the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"daemon off; {user} pid {folder}/pid; error_log {folder}/error.log info; worker_processes 2;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"include {folder}/kinora.conf; }}\n"
        )

    def __enter__(self) -> Self:
        options = ["-p", str(self._folder), "-c", str(self._folder / "nginx.conf")]
        self._process = _started("nginx", options, self._folder)
        wait_until(lambda: _listens(self._port), self._folder / "log")
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def split(self, versions: Sequence[Version]) -> None:
        """Render and reload; requests in flight are finished by the old worker processes."""
        before = self._at_work()
        self._render(versions)
        self._process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(self._at_work()) and not self._at_work() & before, self._folder / "error.log")

    def _at_work(self) -> set[psutil.Process]:
        """Return the worker processes that take new requests; one that shuts down says so in its title."""
        return {p for p in psutil.Process(self._process.pid).children() if command(p) == "nginx: worker process"}

    def _render(self, versions: Sequence[Version]) -> None:
        servers = dict.fromkeys((*SERVICES, "router"), f"server {self._router} max_fails=0;")
        servers["upscale"] = " ".join(
            f"server {version.address} max_fails=0 {f'weight={version.weight}' if version.weight else 'down'};"
            for version in versions
        )
        values = {f"KINORA_{name.upper()}_SERVERS": value for name, value in servers.items()}
        template = string.Template((CONFIGURATIONS / "nginx.conf.template").read_text())
        rendered = template.safe_substitute(values, KINORA_GATEWAY_LISTEN=f"127.0.0.1:{self._port}")
        (self._folder / "kinora.conf").write_text(rendered)


class Haproxy(AbstractContextManager["Haproxy"]):
    """HAProxy with `haproxy.cfg` as it is: addresses from the environment, shares over the admin socket."""

    def __init__(self, folder: Path, versions: Sequence[Version], router: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        # The path of a unix socket may have 107 characters, which a test's folder easily has.
        self._admin = f"127.0.0.1:{free_port()}"
        stable, canary = versions
        self._environment = {
            "KINORA_GATEWAY_LISTEN": f"127.0.0.1:{self._port}",
            "KINORA_GATEWAY_ADMIN": self._admin,
            "KINORA_ROUTER": router,
            **{f"KINORA_{service.upper()}_STABLE": router for service in SERVICES},
            "KINORA_UPSCALE_STABLE": stable.address,
            "KINORA_UPSCALE_STABLE_WEIGHT": str(stable.weight),
            "KINORA_UPSCALE_CANARY": canary.address,
            "KINORA_UPSCALE_CANARY_WEIGHT": str(canary.weight),
        }

    def __enter__(self) -> Self:
        options = ["-f", str(CONFIGURATIONS / "haproxy.cfg")]
        self._process = _started("haproxy", options, self._folder, **self._environment)
        wait_until(lambda: _listens(self._port), self._folder / "log")
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def split(self, versions: Sequence[Version]) -> None:
        """Change the weights of the running process."""
        for name, version in zip(("stable", "canary"), versions, strict=True):
            said = self.order(f"set server kinora_upscale/{name} weight {version.weight}")
            if said:
                raise ValueError(said)

    def up(self, name: str) -> bool:
        """Whether HAProxy's own checks have found this server of upscale ready."""
        for server in csv.DictReader(self.order("show stat").removeprefix("# ").splitlines()):
            if (server["pxname"], server["svname"]) == ("kinora_upscale", name):
                return server["status"].startswith("UP")
        raise LookupError(name)

    def order(self, command: str) -> str:
        """Send one command to the admin socket; return what it says."""
        host, _, port = self._admin.partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as admin:
            admin.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode().strip()


def wait_until(reached: Callable[[], bool], log: Path) -> None:
    """Return when `reached`; raise TimeoutError with the log's end when that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(log.read_text()[-2000:])
        time.sleep(0.02)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")  # where Debian has them


def _started(name: str, options: list[str], folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    program = _program(name)
    assert program, f"{name} is not installed"
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([program, *options], env=os.environ | environment, stdout=log, stderr=log)


def _listens(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
