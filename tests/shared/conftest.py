"""What the tests of several shared packages stand on."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.task_store import Storage, TaskStore, open_store, started_storage


@pytest.fixture(scope="module")
def task_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A PostgreSQL of the module's own."""
    with started_storage(tmp_path_factory.mktemp("tasks")) as storage:
        yield storage


@pytest.fixture
async def task_store(task_storage: Storage) -> AsyncIterator[TaskStore]:
    """Empty tables of tasks, callbacks and the queue, in the test's own event loop."""
    async with open_store(task_storage) as store:
        await store.clear()
        yield store
