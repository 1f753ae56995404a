"""The server process of the embedded PostgreSQL: creating its data directory, starting it, stopping it."""

import logging
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from shared.database.data_directory import SOCKET, DataDirectory
from shared.database.postgres_programs import ProgramFailed, programs_for, run_program
from shared.database.postmaster import (
    PID_FILE,
    STATUS_LINE,
    is_alive,
    postmaster,
    recorded_lines,
    recorded_pid,
    workers,
)
from shared.database.server_account import account_for_new_database, account_of, admitted_users
from shared.errors import Misconfigured, Unavailable

START_SECONDS = 10  # the limit of one start; the next try goes on with whatever this one has achieved
CREATE_SECONDS = 120
STOP_SECONDS = 15.0
CONNECT_SECONDS = 1.0
ORPHAN_SECONDS = 5.0
LOG = "log"
# The kernel tells the server who asks; nobody passes whom the map does not name.
ACCESS_RULES = "# Written by Kinora at every start.\nlocal all all peer map=kinora\n"

logger = logging.getLogger(__name__)


class PostgresServer:
    """The PostgreSQL of one data directory, on a unix socket in it and nowhere else.

    `start` and `stop` are for one process and one thread at a time: their callers hold a lock.
    """

    def __init__(self, data: Path) -> None:
        self._directory = DataDirectory(data)
        # Written by any thread that starts the server, read by others without a lock: a string is replaced at once,
        # and by an equal one, because a data directory always gets the same socket.
        self._uri = ""

    @property
    def uri(self) -> str:
        """The connection string, "" before the first start; it may hold in this process alone, and until `close`."""
        return self._uri

    def accepts_connections(self) -> bool:
        """Whether something accepts connections on the server's socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_SECONDS)
            try:
                probe.connect(f"{self._directory.here}/{SOCKET}")
            except OSError:
                return False
        return True

    def start(self, *, create: bool) -> None:
        """Start the server unless it runs, and wait until it takes connections; `create` allows a new database.

        Raises Unavailable, which is Misconfigured where trying again is of no use.
        """
        try:
            if not self._directory.open():
                if not create:
                    raise Misconfigured("database_missing", folder=self._directory.path)
                self._create()
            self._start()
        except (OSError, ProgramFailed, subprocess.SubprocessError, psutil.Error) as error:
            raise self._not_started(str(error)) from error
        self._uri = f"postgresql://postgres:@/postgres?host={self._directory.host}"

    def stop(self) -> None:
        """Fast shutdown: roll back what is open, write a checkpoint, end; waits for the end for at most 15 s."""
        server = postmaster(self._directory) if self._directory.fd >= 0 else None
        if server is None:
            return
        with suppress(psutil.NoSuchProcess):
            server.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while is_alive(server) and time.monotonic() < deadline:
            time.sleep(0.02)

    def is_lost(self) -> bool:
        """Whether the database that was started is no longer where it was. Raises OSError when nobody can tell."""
        return self._directory.fd >= 0 and self._directory.is_gone()

    def abandon(self) -> None:
        """End a server whose files are lost, at once: it has nothing left to write to."""
        for process in workers(self._directory):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGQUIT)

    def close(self) -> None:
        """Give up the way to the server, which goes on."""
        self._directory.close()

    def _start(self) -> None:
        directory = self._directory
        names = admitted_users(directory.owner())
        lines = [f'kinora "{name}" all\n' for name in names]
        changed = directory.write("pg_ident.conf", "".join(lines)) | directory.write("pg_hba.conf", ACCESS_RULES)
        server = postmaster(directory)
        if server is None:
            if directory.has(PID_FILE) or workers(directory):  # one without its file has no interlock either
                self._clear_remains(recorded_pid(directory))
            if directory.is_gone():  # while this waited
                raise Misconfigured("database_missing", folder=directory.path)
            self._launch()
        elif changed:  # a server of an older version, which would let everybody in
            server.send_signal(signal.SIGHUP)
        self._wait_until_ready()

    def _create(self) -> None:
        """Make the data directory under another name and rename it: a kill in between leaves nothing incomplete."""
        account = account_for_new_database()
        programs = programs_for(account)
        draft = DataDirectory(self._directory.path.with_name("postgres.new"))
        shutil.rmtree(draft.path, ignore_errors=True)
        try:
            draft.make(account)
            run_program(
                programs / "initdb", "-D", draft.here, "-U", "postgres", "--encoding=utf8", "--no-instructions",
                "--auth-local=peer", "--auth-host=reject",
                account=account, inherit=(draft.fd,), seconds=CREATE_SECONDS,
            )  # fmt: skip
        finally:
            draft.close()
        draft.path.rename(self._directory.path)
        self._directory.open()

    def _launch(self) -> None:
        directory = self._directory
        account = account_of(directory.owner())
        programs = programs_for(account)
        log_bytes = directory.size(LOG)
        try:
            run_program(
                programs / "pg_ctl", "-w", "-t", str(START_SECONDS), "-l", f"{directory.here}/{LOG}",
                "-o", f'-h "" -k {directory.here} -c lc_messages=C', "-D", directory.here, "start",
                account=account, inherit=(directory.fd,), seconds=START_SECONDS + 5,
            )  # fmt: skip
        except (ProgramFailed, subprocess.TimeoutExpired) as error:
            if postmaster(directory):
                raise Unavailable("postgres_recovering", folder=directory.path) from error
            raise self._not_started(self._last_complaint(log_bytes) or str(error)) from error

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while postmaster(self._directory):
            lines = recorded_lines(self._directory)
            if len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready":
                return
            if time.monotonic() > deadline:
                raise Unavailable("postgres_recovering", folder=self._directory.path)
            time.sleep(0.05)
        raise self._not_started("it ended while it started")

    def _last_complaint(self, start: int) -> str:
        """Return the last line of the server's log, from this byte on, that says why it ended."""
        for line in reversed(self._directory.read(LOG, start=start).splitlines()):
            for level in ("FATAL:", "PANIC:"):
                if level in line:
                    return " ".join(line[line.index(level) :].split())
        return ""

    def _not_started(self, reason: str) -> Unavailable:
        return Unavailable("postgres_not_started", reason=reason, log=self._directory.path / LOG)

    def _clear_remains(self, pid: int | None) -> None:
        """Make a start possible after a kill, without giving up PostgreSQL's own interlock.

        A pid that is free is left to PostgreSQL, which checks its shared memory. A pid that is a zombie or was given
        to another process would make it refuse: then the file goes, once no backend of the old server lives. So does
        a file that a kill left half written: it names no shared memory yet.
        """
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (orphans := workers(self._directory)) and not self._directory.is_gone():
            if time.monotonic() > deadline:
                for orphan in orphans:
                    with suppress(psutil.NoSuchProcess):
                        orphan.kill()
            time.sleep(0.05)
        # Not psutil.pid_exists: it denies the pids of threads and thus would leave a file that PostgreSQL refuses.
        if len(recorded_lines(self._directory)) > STATUS_LINE and not Path(f"/proc/{pid}").exists():
            return
        self._directory.remove(PID_FILE)
        self._directory.remove(f"{SOCKET}.lock")
