"""The load on the database: the cost of one task, of an idle service with its runner, and of a running task."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.chaos.victims import postmaster
from benchmarks.chaos.witnesses import connect
from benchmarks.clips import write_clip
from benchmarks.report import Report
from shared.database.database import Database
from shared.database.pool import Pool
from shared.queue.client import Queue
from shared.settings import Settings
from shared.tasks import heartbeats, rows
from shared.tasks.recovery import TaskRecovery
from shared.tasks.submission import enqueue
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

IDLE_SECONDS = 20.0
TASKS = 20
RUNNERS = 100  # simulated: their heartbeats, without models
ROUNDS = 20  # of heartbeats
REPORT_SECONDS = 3.0  # until every backend has reported what it did
COUNTERS = """
    SELECT xact_commit AS commits, tup_inserted + tup_updated + tup_deleted AS rows, wal_bytes::float8 AS wal_bytes
    FROM pg_stat_database, pg_stat_wal WHERE datname = current_database()
"""


@dataclass(frozen=True)
class Cost:
    """What the server has done: so far, between two moments, or per task, second or heartbeat."""

    commits: float
    rows: float  # inserted, updated, deleted; the queue's own included
    wal_bytes: float
    cpu_seconds: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(mine - its for mine, its in zip(self.all(), other.all(), strict=True)))

    def each(self, units: float) -> "Cost":
        return Cost(*(value / units for value in self.all()))

    def all(self) -> tuple[float, float, float, float]:
        return self.commits, self.rows, self.wal_bytes, self.cpu_seconds

    def row(self, what: str) -> list[str]:
        return [
            what,
            f"{self.commits:.1f}",
            f"{self.rows:.1f}",
            f"{self.wal_bytes:.0f}",
            f"{self.cpu_seconds * 1e3:.2f}",
        ]


def measure() -> Report:
    """Measure a real service with one runner, then the heartbeats of many runners."""
    with tempfile.TemporaryDirectory(prefix="kinora-storage-", ignore_cleanup_errors=True) as folder:
        idle, task = of_a_service(Path(folder))
        life, progress = asyncio.run(of_runners(Path(folder) / "runners"))
    return report(idle, task, life, progress)


def report(idle: Cost, task: Cost, life: Cost, progress: Cost) -> Report:
    """Put the four costs together."""
    rows = [
        idle.row("one idle service with one runner, a second"),
        task.row("one task from its acceptance to its delivered callback"),
        life.row("one runner's heartbeat, every 5 s"),
        progress.row("one running task's progress, twice a second"),
    ]
    figures = {
        name: dict(zip(("commits", "rows", "wal_bytes", "cpu_seconds"), cost.all(), strict=True))
        for name, cost in (("idle_second", idle), ("task", task), ("life", life), ("progress", progress))
    }
    columns = ("what", "commits", "rows written", "WAL bytes", "server CPU ms")
    over = f"{IDLE_SECONDS:g} s, {TASKS} tasks and {RUNNERS * ROUNDS} heartbeats"
    notes = (f"Means over {over}; the idle seconds are subtracted from a task.",)
    return Report("storage", "The load on the database", columns, rows, figures, notes)


def of_a_service(folder: Path) -> tuple[Cost, Cost]:
    """Return what an idle second and a short task cost, the idle cost of that time subtracted."""
    media = folder / "media"
    clip = write_clip(media / "clip.mp4", size=(16, 16), frames=2)
    numbers = itertools.count(1)
    with Receiver() as receiver:
        stack = Stack(folder / "state", (media,), receiver.url, environment={"KINORA_SERVICES": "upscale"})
        with stack.running(), stack.client() as client:

            def post() -> int:
                task_id = next(numbers)
                body = {"task_id": task_id, "video_url": str(clip), "dist_dir": str(media / "out"), "ratio": 1}
                answer = client.post("/api/ai/upscale", json=body).json()
                if answer["err_code"]:
                    raise RuntimeError(answer["err_msg"])
                return task_id

            receiver.wait_for(post(), timeout_seconds=300)  # the model is loaded
            with connect(stack) as connection:
                begin, before = time.monotonic(), look(connection, stack.state_dir)
                time.sleep(IDLE_SECONDS)
                middle, idle = time.monotonic(), look(connection, stack.state_dir)
                for task_id in [post() for _ in range(TASKS)]:
                    receiver.wait_for(task_id, timeout_seconds=300)
                end, after = time.monotonic(), look(connection, stack.state_dir)
    second = (idle - before).each(middle - begin)
    return second, (after - idle - second.each(1 / (end - middle))).each(TASKS)


async def of_runners(home: Path) -> tuple[Cost, Cost]:
    """Return what one heartbeat of a worker and one progress update of its task cost."""
    settings = Settings(state_dir=home / "state", media_roots=(home,), version="1.0")
    database = Database(settings).start()
    pool = await Pool(database.uri, size=16).open()
    try:
        queue = Queue()
        workers, claimed = await busy_runners(pool, queue)
        recovery = TaskRecovery(settings, pool, queue)

        async def live(number: int) -> None:
            async with pool.raw.connection() as connection:
                await connection.execute("SELECT procrastinate_update_heartbeat_v1(%s)", (workers[number],))
            async with pool.transaction() as connection:
                await heartbeats.use_async_commit(connection)
                await heartbeats.record(connection, "upscale", "generate", "1.0")
            await recovery.reap_dead_workers()

        async def progress(number: int) -> None:
            async with pool.transaction() as connection:
                await rows.record_heartbeat(connection, claimed[number], 0.5)

        with psycopg.connect(database.uri, autocommit=True) as connection:
            return [await repeated(act, connection, settings.state_dir) for act in (live, progress)]  # type: ignore[return-value]  # two
    finally:
        await pool.close()
        database.stop()


async def busy_runners(pool: Pool, queue: Queue) -> tuple[list[int], list[rows.TaskRow]]:
    """Register workers and have each run a task."""
    workers, running = [], []
    for number in range(1, RUNNERS + 1):
        async with pool.transaction() as connection:
            cursor = await connection.execute("SELECT worker_id FROM procrastinate_register_worker_v1()")
            workers.append((await cursor.fetchall())[0]["worker_id"])
            row = await enqueue(
                connection, queue, service="upscale", kind="generate", task_id=number,
                fingerprint="0" * 64, context={}, version="1.0",
                request={"video_url": "/media/in/clip.mp4", "dist_dir": "/media/out", "ratio": 2},
            )  # fmt: skip
            claimed = await rows.claim(connection, row)
            assert claimed
            running.append(claimed)
    return workers, running


async def repeated(act: Callable[[int], Awaitable[None]], connection: psycopg.Connection[Any], state_dir: Path) -> Cost:
    """Return what one action costs when every runner repeats it."""

    async def one(number: int) -> None:
        for _ in range(ROUNDS):
            await act(number)

    before = look(connection, state_dir)
    await asyncio.gather(*(one(number) for number in range(RUNNERS)))
    return (look(connection, state_dir) - before).each(RUNNERS * ROUNDS)


def look(connection: psycopg.Connection[Any], state_dir: Path) -> Cost:
    """Read the server's own counters and the processor time of all its processes."""
    time.sleep(REPORT_SECONDS)
    commits, rows, wal_bytes = (float(value) for value in connection.execute(COUNTERS).fetchone() or ())
    server = postmaster(state_dir)
    assert server
    spent = server.cpu_times()
    cpu_seconds = spent.children_user + spent.children_system  # of those that have ended
    for process in (server, *server.children(recursive=True)):
        spent = process.cpu_times()
        cpu_seconds += spent.user + spent.system
    return Cost(commits, rows, wal_bytes, cpu_seconds)
