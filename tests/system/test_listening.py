"""What a running installation listens on: the configured port, and sockets that only its own user can reach."""

import socket
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from shared.testing.stack import Stack


def listening_ports(stack: Stack) -> set[int]:
    """Return every TCP and UDP port that a process of the stack is bound to."""
    ports = set()
    for process in stack.processes():
        for connection in psutil.Process(process.pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM:
                ports.add(connection.laddr.port)
    return ports


def socket_files(stack: Stack) -> set[Path]:
    """Return the unix sockets in the file system that a process of the stack has bound."""
    found = set()
    for process in stack.processes():
        addresses = (str(bound.laddr) for bound in psutil.Process(process.pid).net_connections("unix"))
        # PostgreSQL names its socket by a descriptor of its own folder, which every process has under another path.
        own = (address.replace("/proc/self/", f"/proc/{process.pid}/") for address in addresses)
        found |= {Path(address).resolve() for address in own if address.startswith("/")}
    return found


def others_may_enter(path: Path) -> bool:
    """Whether every folder above a socket lets other users in."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


def test_the_whole_tree_listens_on_the_configured_port_alone(stack: Stack, client: httpx.Client) -> None:
    assert client.get("/readyz").status_code == 200
    assert listening_ports(stack) == {stack.port}


def test_no_other_user_can_reach_a_socket_file(stack: Stack, client: httpx.Client) -> None:
    assert client.get("/readyz").status_code == 200
    sockets = {path for path in socket_files(stack) if path.exists()}
    assert len(sockets) >= 5, "four services and the database"
    assert {path for path in sockets if others_may_enter(path)} == set()


@pytest.mark.parametrize("target", ["services.upscale.service:Upscale", "services.router.service:Router"])
def test_a_service_that_bentoml_serves_listens_on_its_port_alone(tmp_path: Path, target: str) -> None:
    services = {"KINORA_SERVICES": "upscale"}
    stack = Stack(tmp_path / "state", (tmp_path,), "http://127.0.0.1:9/notify", environment=services, target=target)
    with stack.running():
        assert listening_ports(stack) == {stack.port}
