"""Task rows and their queue over a real PostgreSQL, without any service: what the tests of the queue stand in."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.database.database import Database
from shared.database.pool import Pool
from shared.queue.client import RUN, Queue, run_queue
from shared.queue.worker import WorkerPlan
from shared.settings import LimitSettings, Settings
from shared.tasks import rows
from shared.tasks.recovery import TaskRecovery
from shared.tasks.rows import TaskRow
from shared.tasks.submission import enqueue
from shared.vocabulary import TaskKind

VERSION = "1.0"
TABLES = "kinora_tasks, kinora_callbacks, kinora_versions, procrastinate_jobs, procrastinate_workers"


class TaskStore:
    """The rows and the queue, inside one event loop."""

    def __init__(self, settings: Settings, pool: Pool, queue: Queue) -> None:
        self.settings = settings
        self.pool = pool
        self.queue = queue
        self.recovery = TaskRecovery(settings, pool, queue)
        self.dist_dir = settings.media_roots[0] / "out"

    async def task(
        self, task_id: int = 1, kind: TaskKind = "generate", *, version: str = VERSION, **context: object
    ) -> UUID:
        """Queue a task of a service that nothing serves."""
        async with self.pool.transaction() as connection:
            return await enqueue(
                connection, self.queue, service="interpo", kind=kind, task_id=task_id,
                fingerprint=str(task_id), request={"dist_dir": str(self.dist_dir)}, context=context, version=version,
            )  # fmt: skip

    async def read(self, row: UUID) -> TaskRow:
        async with self.pool.transaction() as connection:
            found = await rows.read(connection, row)
        assert found
        return found

    async def claim(self, row: UUID) -> TaskRow | None:
        async with self.pool.transaction() as connection:
            return await rows.claim(connection, row)

    async def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        async with self.pool.transaction() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    async def given_to_a_worker(self, row: UUID, *, silent_seconds: float = 0) -> int:
        """Have a worker that exists only in the database hold and claim a task; return its id."""
        [worker] = await self.sql(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - make_interval(secs => %s))"
            " RETURNING id",
            silent_seconds,
        )
        await self.sql(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE args->>'id' = %s",
            worker["id"], str(row),
        )  # fmt: skip
        await self.claim(row)
        return int(worker["id"])

    async def watched_for(self, seconds: float, *, seen_ago: float = 3) -> None:
        """Have the storage been watched for so long, until so many seconds ago."""
        await self.sql(
            "UPDATE kinora_watch SET since = now() - make_interval(secs => %s),"
            " seen = now() - make_interval(secs => %s)",
            seconds, seen_ago,
        )  # fmt: skip

    async def clear(self) -> None:
        """Forget every task, callback, version and job."""
        await self.sql(f"TRUNCATE {TABLES} CASCADE")

    async def queue_of(self, row: UUID) -> tuple[str, str]:
        """Return the queue in which a task's job stands, and how."""
        [job] = await self.sql(
            "SELECT queue_name, status::text AS status FROM procrastinate_jobs WHERE args->>'id' = %s", str(row)
        )
        return job["queue_name"], job["status"]


@dataclass(frozen=True)
class Storage:
    """A PostgreSQL that runs, and the settings that its users have."""

    uri: str
    settings: Settings


@contextmanager
def started_storage(home: Path) -> Iterator[Storage]:
    """Start a PostgreSQL in a folder, or the one that lies there, for the length of a block."""
    settings = Settings(
        state_dir=home / "state",
        media_roots=(home,),
        limits=LimitSettings(keep_days=30, faces_keep_days=7),
        version=VERSION,
    )
    database = Database(settings).start()
    try:
        yield Storage(database.uri, settings)
    finally:
        database.stop()


@asynccontextmanager
async def open_store(storage: Storage) -> AsyncIterator[TaskStore]:
    """Open a pool in the running event loop, over whatever the tables hold."""
    pool = await Pool(storage.uri).open()
    try:
        yield TaskStore(storage.settings, pool, Queue())
    finally:
        await pool.close()


def plan_of(store: TaskStore, handler: Callable[[UUID], Awaitable[None]], *, version: str = VERSION) -> WorkerPlan:
    """Return what a worker does that serves the queue of one version and runs the periodic tasks."""
    return WorkerPlan(
        queues=(run_queue("interpo", "generate", version),), handlers={RUN: handler},
        periodic_tasks=store.recovery.periodic_tasks,
        recover=store.recovery.recover_job, polling_seconds=0.2,
    )  # fmt: skip
