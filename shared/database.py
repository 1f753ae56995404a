"""Where tasks and callbacks are kept: an embedded PostgreSQL, or any other that `KINORA_DATABASE_URL` names."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Self, TypeAlias, TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from shared.errors import Unavailable
from shared.jobs import queue_schema
from shared.settings import Settings

T = TypeVar("T")
Connection: TypeAlias = psycopg.AsyncConnection[dict[str, Any]]

MIGRATIONS = files("shared") / "migrations"
SCHEMA_LOCK = 0x6B696E6F7261  # "kinora": one process at a time changes the schema
SCHEMA_LOCK_SECONDS = 5  # a change that waits for a table makes everybody else wait behind it: rather try again
START_SECONDS = 30.0
RETRY_SECONDS = 0.3
PROMPT_SECONDS = 6.0  # the longest that somebody who waits for an answer waits for a server that hangs
# A server that vanished from the network, without a word, is noticed within about ten seconds.
KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# A client that vanished is noticed too, and loses its locks before anybody takes over its work.
SESSION = """
    SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '20000', false),
        set_config('idle_in_transaction_session_timeout', '10s', false)
"""
# What is said to be committed is on disk. The limit is said again for poolers that lend a session by transaction.
BEGIN = """
    SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
        set_config('synchronous_commit', CASE WHEN durable IN ('off', 'local') THEN 'on' ELSE durable END, true)
    FROM current_setting('synchronous_commit') AS durable
"""

logger = logging.getLogger(__name__)


class Database:
    """The storage as one process sees it: `start` before use, `stop` at the end, a `Pool` for each event loop."""

    def __init__(self, settings: Settings) -> None:
        self._external = settings.database_url
        self._state_dir = settings.state_dir
        self._embedded: Any = None

    def start(self) -> Self:
        """Have a server that answers and a schema that fits; blocks. Raises Unavailable."""
        if not self._external:
            from shared.postgres import EmbeddedPostgres  # noqa: PLC0415  # only where it is used is it installed

            self._embedded = self._embedded or EmbeddedPostgres(self._state_dir)
            self._embedded.join()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                apply_schema(self.uri)
            except psycopg.Error as error:  # refused rights and wrong addresses too: an operator may mend them
                if time.monotonic() > deadline:
                    logger.warning("storage: %s", _said(error))
                    raise Unavailable("storage_unavailable") from error
                time.sleep(RETRY_SECONDS)
            else:
                return self

    def stop(self) -> None:
        """Stop using it; the embedded server stops with its last user."""
        if self._embedded:
            self._embedded.leave()

    @property
    def uri(self) -> str:
        return self._external.get_secret_value() if self._external else self._embedded.uri


class Session(psycopg.AsyncConnection[Any]):
    """A connection whose server notices when we vanish; also the one that listens, which no pool configures."""

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect, then tell the server; raise psycopg.OperationalError."""
        connection = await super().connect(conninfo, **options)
        try:
            await connection.execute(SESSION)
            await connection.commit()
        except BaseException:
            await connection.close()
            raise
        return connection


class Pool:
    """Connections of one event loop; back within a second of the server's return, Unavailable until then."""

    def __init__(self, uri: str, *, size: int = 4) -> None:
        # The defaults recover too slowly: their pause between attempts doubles without a limit.
        self.raw: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            uri,
            min_size=1,
            max_size=size,
            timeout=2,
            reconnect_timeout=1,
            open=False,
            check=AsyncConnectionPool.check_connection,
            connection_class=Session,
            kwargs={"row_factory": dict_row, "connect_timeout": 2, **KEEPALIVE},
        )

    async def open(self) -> Self:
        await self.raw.open(wait=False)  # waiting would hang while the server is away
        return self

    async def close(self) -> None:
        await self.raw.close(timeout=2)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction, synced to disk before it returns; raises Unavailable when the storage does not answer."""
        try:
            async with self.raw.connection() as connection, connection.transaction():
                await connection.execute(BEGIN)
                yield connection
        except psycopg.Error as error:
            logger.warning("storage: %s", _said(error))
            raise Unavailable("storage_unavailable") from error

    async def insist(self, work: Callable[[Connection], Awaitable[T]], *, seconds: float = math.inf) -> T:
        """Run one transaction again and again until the storage takes it, at most for `seconds`.

        The answer to a commit may get lost with the server: `work` must do no harm when it had already been done.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def promptly(self, work: Callable[[Connection], Awaitable[T]], *, seconds: float = PROMPT_SECONDS) -> T:
        """Run one transaction; raise Unavailable when it takes longer, as on a server that hangs."""

        async def once() -> T:
            async with self.transaction() as connection:
                return await work(connection)

        task = asyncio.create_task(once())
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # told to whoever still waits
        try:
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return task.result()
        finally:
            task.cancel()  # its end is not waited for: a server that hangs does not even answer a rollback
        logger.warning("storage: no answer within %g s", seconds)
        raise Unavailable("storage_unavailable")

    async def answers(self) -> bool:
        try:
            await self.promptly(lambda connection: connection.execute("SELECT 1 FROM kinora_tasks LIMIT 1"))
        except Unavailable:
            return False
        return True


def _said(error: psycopg.Error) -> str:
    """Return the server's sentence alone: its details may quote a row, and with it a prompt."""
    return error.diag.message_primary or str(error).strip() or type(error).__name__


def apply_schema(uri: str) -> None:
    """Bring the queue's tables and ours up to what this version knows; safe to run by many processes at once.

    Migrations only ever add: an older version goes on working on a newer schema, which it leaves as it is, so that two
    versions may stand side by side on one database.
    """
    with psycopg.connect(uri, connect_timeout=2, **KEEPALIVE) as connection:
        if not _missing(connection):
            return
        connection.execute(
            "SELECT set_config('lock_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', '10s', true)",
            (f"{SCHEMA_LOCK_SECONDS}s",),
        )
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        if not _exists(connection, "procrastinate_jobs"):
            connection.execute(queue_schema())
        connection.execute(
            "CREATE TABLE IF NOT EXISTS kinora_migrations"
            " (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for number, migration in _missing(connection).items():
            logger.info("storage: applying %s", migration.name)
            connection.execute(migration.read_text(encoding="utf-8"))
            connection.execute("INSERT INTO kinora_migrations VALUES (%s, %s)", (number, migration.name))


def _missing(connection: psycopg.Connection[Any]) -> dict[int, Traversable]:
    """Return the migrations that were not applied yet, in their order."""
    known = {int(path.name.split("_")[0]): path for path in MIGRATIONS.iterdir() if path.name.endswith(".sql")}
    applied: set[int] = set()
    if _exists(connection, "kinora_migrations"):
        applied = {number for (number,) in connection.execute("SELECT number FROM kinora_migrations")}
    return {number: known[number] for number in sorted(known.keys() - applied)}


def _exists(connection: psycopg.Connection[Any], table: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return bool(found and found[0])
