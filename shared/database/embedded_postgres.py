"""The embedded PostgreSQL of a one-machine installation, kept running by the processes that use it.

Each of them holds a shared lock on the users file and watches the server. Whichever finds it gone starts it again,
under a second lock, so that only one does. The last user to leave stops it. This needs no daemon, and every one of
these processes, the server included, may be killed at any moment.
"""

import logging
import threading
from pathlib import Path

from shared.database.postgres_server import PostgresServer
from shared.errors import Unavailable
from shared.process.file_lock import FileLock

WATCH_SECONDS = 1.0

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """One use of the PostgreSQL in `state_dir/postgres`; every process that needs the server holds one of these."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._server = PostgresServer(state_dir / "postgres")
        self._users = FileLock(state_dir / "postgres.users")
        self._start = FileLock(state_dir / "postgres.start")
        self._leaving = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def uri(self) -> str:
        """The connection string; constant for a state directory, also after a restart of the server."""
        return self._server.uri

    def join(self) -> None:
        """Become a user: start the server unless it runs, and watch it from now on.

        Raises Unavailable when the server does not start; calling this again then tries again.
        """
        self._state_dir.mkdir(parents=True, exist_ok=True)
        if not self._users.held:
            self._users.share()
        with self._start:
            self._server.start()
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
                self._server.stop()
                self._users.release()

    def _watch(self) -> None:
        while not self._leaving.wait(WATCH_SECONDS):
            try:
                self._restart_if_gone()
            except Unavailable:  # logged where it was raised
                continue
            except Exception:  # a passing shortage of file descriptors, say
                logger.exception("checking the embedded PostgreSQL failed; retrying")

    def _restart_if_gone(self) -> None:
        if self._server.accepts_connections():
            return
        with self._start:
            if self._leaving.is_set() or self._server.accepts_connections():
                return
            logger.warning("the embedded PostgreSQL is gone: starting it again")
            self._server.start()
