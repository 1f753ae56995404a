"""A PostgreSQL as an operator has one: at an address, behind a password, started by nobody that uses it."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from shared.database.postgres_programs import programs_for
from shared.database.server_account import Account

NOBODY = 65534
START_SECONDS = 30.0


@contextmanager
def served_postgres(
    address: str, password: str, *, port: int = 5432, clients: str, launcher: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Run a PostgreSQL that listens on an address and asks the `clients`, a network, for a password. Needs root.

    `launcher` is what its command line begins with. Yield the URL for the clients, and one for the test itself, on a
    socket.
    """
    binaries = programs_for(Account(NOBODY, NOBODY))
    home = Path(tempfile.mkdtemp(prefix="kinora-hosts-"))  # pytest's own folders are closed to the server's user
    try:
        (home / "password").write_text(password)
        shutil.chown(home, NOBODY, NOBODY)
        _as_nobody(
            str(binaries / "initdb"), "-D", f"{home}/data", "-U", "kinora", "--auth-local=trust",
            "--auth-host=scram-sha-256", f"--pwfile={home}/password", "--encoding=UTF8", "--no-instructions", cwd=home,
        )  # fmt: skip
        with (home / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {clients} scram-sha-256\n")
        with (home / "log").open("ab") as log:
            server = subprocess.Popen(
                [*launcher, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                 str(binaries / "postgres"), "-D", f"{home}/data", "-k", str(home), "-h", address, "-p", str(port)],
                stdout=log, stderr=log, cwd=home,
            )  # fmt: skip
        try:
            own = f"postgresql://kinora@/postgres?host={home}&port={port}"
            _wait_until_up(own, home / "log")
            yield f"postgresql://kinora:{password}@{address}:{port}/postgres", own
        finally:
            server.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                server.wait(15)
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_up(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return


def _as_nobody(*command: str, **options: Any) -> None:
    subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], check=True, capture_output=True, **options)
