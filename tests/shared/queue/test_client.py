"""The queue inside a caller's transaction."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from shared.database.pool import Connection
from tests.support.task_store import Run, TaskStore, open_store


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with open_store(tmp_path_factory.mktemp("client")) as run:
        yield run


def test_an_end_is_insisted_on_when_the_connection_breaks_just_as_its_callback_is_queued(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        tries = []

        async def end(connection: Connection) -> None:
            cursor = await connection.execute("SELECT pg_backend_pid() AS pid")
            tries.append((await cursor.fetchall())[0]["pid"])
            if len(tries) == 1:
                await store.sql("SELECT pg_terminate_backend(%s, 2000)", tries[0])
            await store.queue.drop(connection, await store.queue.defer_callback(connection, uuid4()))
            await store.queue.defer_callback(connection, uuid4())

        await store.pool.retry_until_committed(end, seconds=20)
        assert len(tries) == 2
        assert len(await store.sql("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'kinora.deliver'")) == 1

    run(test)
