"""The queue inside a caller's transaction."""

from uuid import uuid4

from shared.database.pool import Connection
from tests.support.task_store import TaskStore


async def test_an_end_is_insisted_on_when_the_connection_breaks_just_as_its_callback_is_queued(
    task_store: TaskStore,
) -> None:
    tries = []

    async def end(connection: Connection) -> None:
        cursor = await connection.execute("SELECT pg_backend_pid() AS pid")
        tries.append((await cursor.fetchall())[0]["pid"])
        if len(tries) == 1:
            await task_store.sql("SELECT pg_terminate_backend(%s, 2000)", tries[0])
        await task_store.queue.drop(connection, await task_store.queue.defer_callback(connection, uuid4()))
        await task_store.queue.defer_callback(connection, uuid4())

    await task_store.pool.retry_until_committed(end, seconds=20)
    assert len(tries) == 2
    assert len(await task_store.sql("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'kinora.deliver'")) == 1
