"""What `kinora serve` makes sure of before it becomes BentoML's master, whose own failures are long to read."""

import errno
import os
import socket
import tempfile
import time
from pathlib import Path

from shared.errors import Misconfigured, Problem, Unavailable
from shared.settings import Settings

PORT_SECONDS = 5.0  # the processes of a killed `kinora serve` are gone by then
POLL_SECONDS = 0.1


def check_startup(settings: Settings, address: str) -> None:
    """Raise Misconfigured where the operator must act, another Problem where something is in the way."""
    _check_bentoml_home()
    _check_port(address, settings.access.port)
    if not settings.database_url:  # one that is away delays readiness, not the start
        _check_embedded_database(settings)


def _check_bentoml_home() -> None:
    try:
        named = os.environ.get("BENTOML_HOME")
        folder = Path(os.path.expandvars(named)) if named else Path.home() / "bentoml"
    except RuntimeError as error:  # neither HOME nor an entry in the list of users
        raise Misconfigured("user_without_name", uid=os.geteuid()) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Misconfigured("bentoml_home_unwritable", folder=folder, reason=error.strerror or error) from error


def _check_port(address: str, port: int) -> None:
    deadline = time.monotonic() + PORT_SECONDS
    facts = {"host": address, "port": port}
    while True:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise Misconfigured("address_unusable", **facts, reason=error.strerror) from error
                if time.monotonic() > deadline:
                    raise Unavailable("port_in_use", **facts) from error
            else:
                return
        time.sleep(POLL_SECONDS)


def _check_embedded_database(settings: Settings) -> None:
    """Start it, bring its tables up to date, and leave it to the services."""
    from shared.database.database import Database  # noqa: PLC0415  # its drivers are not part of every installation

    database = Database(settings)
    try:
        database.start()
    except Problem as problem:
        if problem.key == "postgres_recovering":  # it takes its time: ending it would only make it begin again
            return
        database.stop()
        raise
    database.stop()
