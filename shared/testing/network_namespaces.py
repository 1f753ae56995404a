"""Several hosts on one machine: network namespaces with addresses of their own on one switch, whose cables may be cut.

The names carry this process's id, nothing of the machine's own network is touched, and everything goes at the end.
Needs root and iproute2.
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from shared.testing.external_postgres import served_postgres

T = TypeVar("T")
SUBNET = "10.77.0"
CLONE_NEWNET = 0x40000000


class Network:
    """A switch and the hosts at it. A host has the address `10.77.0.N`, N counted from 1 as they join."""

    def __init__(self) -> None:
        self._switch = f"kinora{os.getpid()}-switch"
        self._hosts: dict[str, str] = {}  # name -> namespace
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._add_namespace(self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def join(self, name: str) -> str:
        """Connect a new host; return its address."""
        namespace = f"kinora{os.getpid()}-{name}"
        self._add_namespace(namespace)
        self._hosts[name] = namespace
        _ip("link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", name, "netns", self._switch)
        _ip("-n", self._switch, "link", "set", name, "master", "bridge", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        return self.address(name)

    def address(self, name: str) -> str:
        return f"{SUBNET}.{list(self._hosts).index(name) + 1}"

    def command(self, name: str) -> list[str]:
        """Return what a command line begins with that runs on a host."""
        return ["ip", "netns", "exec", self._hosts[name]]

    def inside(self, name: str, work: Callable[[], T]) -> T:
        """Call from a thread that lives on a host; the sockets that it opens stay there."""
        results: list[T] = []

        def enter() -> None:
            with Path(f"/run/netns/{self._hosts[name]}").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            results.append(work())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return results[0]

    def cut(self, name: str) -> None:
        """Pull a host's cable: packets vanish without a word in both directions."""
        _ip("-n", self._switch, "link", "set", name, "down")

    def heal(self, name: str) -> None:
        _ip("-n", self._switch, "link", "set", name, "up")

    def kill(self, name: str) -> None:
        """Kill every process of a host, as the loss of its power does."""
        _kill_all(self._hosts[name])

    def _add_namespace(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._undo.callback(_remove, namespace)


@contextmanager
def external_postgres(network: Network, host: str, password: str) -> Iterator[tuple[str, str]]:
    """Run a PostgreSQL that listens on a host's address and asks for a password.

    Yield the URL for the hosts, and one for the caller, who stands outside of the network.
    """
    with served_postgres(
        network.address(host), password, clients=f"{SUBNET}.0/24", launcher=network.command(host)
    ) as urls:
        yield urls


def _ip(*words: str) -> str:
    command = ["ip", *words]  # wherever the system has it
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def _remove(namespace: str) -> None:
    _kill_all(namespace)
    _ip("netns", "delete", namespace)


def _kill_all(namespace: str) -> None:
    """Kill what lives in a namespace, and what it starts meanwhile, until nothing is left."""
    while pids := _ip("netns", "pids", namespace).split():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)
