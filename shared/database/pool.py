"""Connections of one event loop: a pool that recovers from an outage, and transactions that raise Unavailable."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias, TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from shared.errors import Unavailable

logger = logging.getLogger(__name__)


T = TypeVar("T")
Connection: TypeAlias = psycopg.AsyncConnection[dict[str, Any]]
RETRY_SECONDS = 0.3
IDLE_SECONDS = 20.0  # then one that was not needed is closed: many processes share the server's connections
PROMPT_SECONDS = 6.0  # the longest that a client waits for an answer while the server hangs
# A server that vanished from the network, without closing its connections, is noticed within about ten seconds.
KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# A client that vanished is noticed too, and loses its locks before its work is given to another.
SESSION = """
    SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '20000', false),
        set_config('idle_in_transaction_session_timeout', '10s', false)
"""
# A commit returns once the data is on disk. The limit is set again for poolers that lend sessions by transaction.
BEGIN = """
    SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
        set_config('synchronous_commit', CASE WHEN durable IN ('off', 'local') THEN 'on' ELSE durable END, true)
    FROM current_setting('synchronous_commit') AS durable
"""


# Every statement of such a transaction sees what was there at the first: a task and its callbacks do not disagree. It
# must come before anything that reads, `BEGIN` above included.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Session(psycopg.AsyncConnection[Any]):
    """A connection whose server notices when this client vanishes; also used to listen, outside any pool."""

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect and set the session's limits; raise psycopg.OperationalError."""
        connection = await super().connect(conninfo, **options)
        try:
            await connection.execute(SESSION)
            await connection.commit()
        except BaseException:
            await connection.close()
            raise
        return connection


class Pool:
    """Connections of one event loop; usable again a second after the server's return, Unavailable until then."""

    def __init__(self, uri: str, *, size: int = 4, idle: int = 1) -> None:
        """Hold up to `size` connections, and `idle` ones while nobody needs more."""
        # The defaults recover too slowly: their pause between attempts doubles without a limit.
        self.raw: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            uri,
            min_size=idle,
            max_size=size,
            max_idle=IDLE_SECONDS,
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
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[Connection]:
        """One transaction, synced to disk before it returns; raises Unavailable when the storage does not answer.

        With `snapshot` it only reads, and all its statements see the same moment.
        """
        try:
            async with self.raw.connection() as connection, connection.transaction():
                if snapshot:
                    await connection.execute(SNAPSHOT)
                await connection.execute(BEGIN)
                yield connection
        except psycopg.Error as error:
            logger.warning("storage: %s", server_message(error))
            raise Unavailable("storage_unavailable") from error

    async def retry_until_committed(
        self, work: Callable[[Connection], Awaitable[T]], *, seconds: float = math.inf
    ) -> T:
        """Run one transaction, and again whenever the storage fails, for at most `seconds`; then raise Unavailable.

        The answer to a commit may be lost with the server: `work` must do no harm when its effect is already there.
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

    async def run_with_timeout(
        self, work: Callable[[Connection], Awaitable[T]], *, seconds: float = PROMPT_SECONDS, snapshot: bool = False
    ) -> T:
        """Run one transaction; raise Unavailable when it takes longer, as on a server that hangs."""

        async def once() -> T:
            async with self.transaction(snapshot=snapshot) as connection:
                return await work(connection)

        task = asyncio.create_task(once())
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # read: asyncio must not warn
        try:
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return task.result()
        finally:
            task.cancel()  # and not awaited: a server that hangs does not even answer a rollback
        logger.warning("storage: no answer within %g s", seconds)
        raise Unavailable("storage_unavailable")

    async def is_reachable(self) -> bool:
        try:
            await self.run_with_timeout(lambda connection: connection.execute("SELECT 1 FROM kinora_tasks LIMIT 1"))
        except Unavailable:
            return False
        return True


def server_message(error: psycopg.Error) -> str:
    """Return the server's main message without its details, which may quote a row and with it a prompt."""
    return error.diag.message_primary or str(error).strip() or type(error).__name__
