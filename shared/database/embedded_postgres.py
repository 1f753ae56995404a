"""The embedded PostgreSQL of a one-machine installation, kept running by the processes that use it.

Each of them holds a shared lock on the users file and watches the server. Whichever finds it gone starts it again,
under a second lock, so that only one does. The last user to leave stops it. This needs no daemon, and every one of
these processes, the server included, may be killed at any moment.

A database is made when somebody joins, never by those who watch: one whose folder vanishes while it is in use is
lost, and an empty one in its place would only hide that.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.database.postgres_server import PostgresServer
from shared.errors import Misconfigured, Problem, Unavailable
from shared.process.file_lock import FileLock

WATCH_SECONDS = 1.0
LOCK_SECONDS = 60.0  # longer than any start or stop that goes on

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """One use of the PostgreSQL in `state_dir/postgres`; every process that needs the server holds one of these.

    `create` allows to make a database where there is none. `on_loss` is called, in the thread that watches, when the
    database is no longer there; the watch ends with it.
    """

    def __init__(self, state_dir: Path, *, create: bool = True, on_loss: Callable[[], object] = lambda: None) -> None:
        self._state_dir = state_dir
        self._data = state_dir / "postgres"
        self._create = create
        self._on_loss = on_loss
        self._server = PostgresServer(self._data)
        self._users = FileLock(state_dir / "postgres.users")
        self._start = FileLock(state_dir / "postgres.start")
        self._leaving = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def uri(self) -> str:
        """The connection string; constant in this process, also after a restart of the server.

        Where the state directory's path can be written into it, it holds in other processes, too.
        """
        return self._server.uri

    def join(self) -> None:
        """Become a user: start the server unless it runs, and watch it from now on.

        Raises Unavailable when the server does not start; calling this again then tries again.
        """
        try:
            if not self._create and not self._data.exists():  # and nothing is made on the way to find that out
                raise Misconfigured("database_missing", folder=self._data)
            self._state_dir.mkdir(parents=True, exist_ok=True)
            if not self._users.held:
                self._users.share(LOCK_SECONDS)
        except TimeoutError as error:
            raise self._held_up(self._users) from error
        except OSError as error:
            raise Misconfigured("state_unusable", folder=self._state_dir, reason=error.strerror or error) from error
        with self._starting():
            self._server.start(create=self._create)
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
        try:
            if self._data.exists() and not self._server.is_lost():
                self._stop_if_last()
        except (Unavailable, OSError) as error:
            logger.warning("the embedded PostgreSQL is left running: %s", error)
        finally:
            self._server.close()

    def _stop_if_last(self) -> None:
        with self._starting():
            if self._users.try_acquire():
                self._server.stop()
                self._users.release()

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Be the only one to start or stop the server; raise Unavailable when somebody else is for too long."""
        try:
            self._start.acquire(LOCK_SECONDS)
        except TimeoutError as error:
            raise self._held_up(self._start) from error
        except OSError as error:
            raise Misconfigured("state_unusable", folder=self._state_dir, reason=error.strerror or error) from error
        try:
            yield
        finally:
            self._start.release()

    def _held_up(self, lock: FileLock) -> Unavailable:
        holder = lock.holder()
        return Unavailable("postgres_held_up", lock=lock.path, seconds=f"{LOCK_SECONDS:g}", holder=holder or "?")

    def _watch(self) -> None:
        said = ""
        while not self._leaving.wait(WATCH_SECONDS):
            try:
                if self._server.is_lost():
                    self._report_loss()
                    return
                self._restart_if_gone()
                said = ""
            except Unavailable as problem:
                if str(problem) != said:  # every second the same
                    logger.warning("%s", problem)
                said = str(problem)
            except Exception:  # a passing shortage of file descriptors, say
                logger.exception("checking the embedded PostgreSQL failed; retrying")

    def _report_loss(self) -> None:
        logger.critical("%s", Problem("database_lost", folder=self._data))
        self._server.abandon()  # so that nobody takes what it still says for the state of things
        self._on_loss()

    def _restart_if_gone(self) -> None:
        if self._server.accepts_connections():
            return
        with self._starting():
            if self._leaving.is_set() or self._server.is_lost() or self._server.accepts_connections():
                return
            logger.warning("the embedded PostgreSQL is gone: starting it again")
            self._server.start(create=False)
