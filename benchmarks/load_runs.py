"""What `benchmarks.load` measures, on a database of its own: accepting, starting, listing, and a backend's return."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from shared.contract.messages import Callback
from shared.contract.request import TaskRequest
from shared.database.database import Database
from shared.database.pool import Pool
from shared.delivery.worker import CallbackWorker
from shared.pipeline.job import Job, Result
from shared.queue.client import Queue
from shared.queue.worker_slot import Slot
from shared.runner.cold_start import ColdStart
from shared.runner.model_thread import ModelThread
from shared.runner.runner import Runner
from shared.runner.task_handler import TaskHandler
from shared.serving.acceptance import Acceptance
from shared.settings import CallbackSettings, LimitSettings, Settings
from shared.tasks import callbacks, rows, views
from shared.tasks.submission import enqueue
from shared.testing.callback_receiver import NOTIFY_PATH, Receiver

VERSION = "1.0"
CONNECTIONS = 600  # of the server; its default of 100 is for one machine
TASKS_A_SECOND = 6.0  # that all runners together end: the processor is to be no limit
ACCEPTS = 60
PAUSE_SECONDS = 0.05  # between two requests
ROUNDS = 3  # tasks a runner ends, about
LISTS = 40
GOLDEN_RATIO = 0.618034  # its multiples spread evenly: tasks that began together do not end together

ENDED = """
    INSERT INTO kinora_tasks (id, service, kind, task_id, fingerprint, request, state, progress, attempt, version,
        runs_on, created_at, started_at, resumed_at, finished_at, result, details)
    SELECT gen_random_uuid(), (ARRAY['creation', 'facefusion', 'interpo', 'upscale'])[1 + n %% 4], 'generate', n, '',
        '{"video_url": "/media/in/clip.mp4", "dist_dir": "/media/out", "ratio": 2}',
        CASE n %% 20 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 1, 1, '1.0', '1.0',
        now() - make_interval(secs => n + 60), now() - make_interval(secs => n + 50),
        now() - make_interval(secs => n + 50), now() - make_interval(secs => n),
        '{"task_id": 1, "preview_image": "", "reference_images": [], "video_url": "a", "err_code": 0, "err_msg": ""}',
        '{"model": "m", "engine": "cpu", "work": {"frames": 72, "megapixels": 66.4}}'
    FROM generate_series(1, %s) AS n
"""


# In the last seconds: for how long tasks ran, all together, and how many began.
AT_WORK = """
    SELECT count(*) FILTER (WHERE resumed_at > now() - make_interval(secs => %s)) AS begun,
        sum(extract(epoch FROM coalesce(finished_at, now()) - greatest(resumed_at, now() - make_interval(secs => %s))))
            ::float8 AS busy
    FROM kinora_tasks
    WHERE resumed_at IS NOT NULL AND coalesce(finished_at, now()) > now() - make_interval(secs => %s)
"""


class Nap(TaskRequest):
    """A task whose model sleeps."""


@dataclass(frozen=True)
class QueueTimes:
    """Milliseconds: the answers of `accept`, and what a runner loses between two tasks."""

    waiting: int
    runners: int
    accept: list[float]
    turnaround: float


class Bench:
    """A database, and what is run on it."""

    def __init__(self, settings: Settings, pool: Pool, uri: str) -> None:
        self.settings = settings
        self.pool = pool
        self.uri = uri
        self._queue = Queue()

    async def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Run one statement in a transaction."""
        async with self.pool.transaction() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    async def queue_times(self, waiting: int, runners: int) -> QueueTimes:
        """Accept tasks while so many wait and so many runners are at work."""
        await self.sql("TRUNCATE kinora_tasks, kinora_callbacks, procrastinate_jobs, procrastinate_workers CASCADE")
        seconds = max(runners / TASKS_A_SECOND, 0.5)
        await self._fill(waiting + runners * (ROUNDS + 1))
        async with self._runners(runners, seconds):
            while await self._count("tasks", "running") < runners:  # noqa: ASYNC110  # rows, no event
                await asyncio.sleep(0.1)
            begin = time.monotonic()
            accept = await self._accepts()
            await asyncio.sleep(max(0.0, ROUNDS * seconds - (time.monotonic() - begin)))
            wall = time.monotonic() - begin
            [seen] = await self.sql(AT_WORK, wall, wall, wall)
        return QueueTimes(waiting, runners, accept, (runners * wall - seen["busy"]) / max(1, seen["begun"]) * 1000)

    async def list_times(self, count: int) -> dict[int, list[float]]:
        """Return the milliseconds of lists of 50 and of 500 tasks among so many."""
        await self.sql("TRUNCATE kinora_tasks, kinora_callbacks, procrastinate_jobs CASCADE")
        await self.sql(ENDED, count)
        async with self.pool.raw.connection() as connection:
            await connection.set_autocommit(True)
            await connection.execute("VACUUM ANALYZE kinora_tasks")
            await connection.set_autocommit(False)
        return {limit: [await self._list_time(limit) for _ in range(LISTS)] for limit in (50, 500)}

    async def recovery_seconds(self, count: int, port: int, away_seconds: float) -> tuple[float, int]:
        """End so many tasks while the backend is away; return how long after its return all callbacks are delivered,
        and how many tries came in the time before that.
        """  # fmt: skip
        await self.sql("TRUNCATE kinora_tasks, kinora_callbacks, procrastinate_jobs, procrastinate_workers CASCADE")
        worker = CallbackWorker(self.settings, "upscale", self.uri)
        worker.start()
        for task_id in range(1, count + 1):
            async with self.pool.transaction() as connection:
                id_ = await rows.insert(
                    connection, service="upscale", kind="generate", task_id=task_id, fingerprint="", request={},
                    context={}, version=VERSION,
                )  # fmt: skip
                row = await rows.read(connection, id_)
                assert row
                await callbacks.finish_task(connection, self._queue, row, "succeeded", Callback(task_id=task_id))
        await asyncio.sleep(away_seconds)
        tried = (await self.sql("SELECT sum(attempts)::int AS n FROM kinora_callbacks"))[0]["n"]
        with Receiver(port=port):
            begin = time.monotonic()
            while await self._count("callbacks", "delivered") < count:  # noqa: ASYNC110  # rows, no event
                await asyncio.sleep(0.2)
            seconds = time.monotonic() - begin
        await asyncio.to_thread(worker.stop)
        return seconds, tried

    async def _fill(self, count: int) -> None:
        async with self.pool.transaction() as connection:
            for number in range(1, count + 1):
                await enqueue(
                    connection, self._queue, service="upscale", kind="generate", task_id=number, fingerprint="",
                    request=self._request(number).model_dump(mode="json"), context={}, version=VERSION,
                )  # fmt: skip
        await self.sql("ANALYZE kinora_tasks")

    async def _accepts(self) -> list[float]:
        acceptance, times = Acceptance("upscale", self.settings), []
        for number in range(1, ACCEPTS + 1):
            begin = time.perf_counter()
            await acceptance.accept(
                self.pool, self._queue, self._request(10_000_000 + number), inputs={}, kind="generate", prepare=None
            )
            times.append((time.perf_counter() - begin) * 1000)
            await asyncio.sleep(PAUSE_SECONDS)
        return times

    def _request(self, task_id: int) -> Nap:
        return Nap(task_id=task_id, dist_dir=str(self.settings.media_roots[0] / "out"))

    async def _count(self, table: Literal["tasks", "callbacks"], state: str) -> int:
        [found] = await self.sql(f"SELECT count(*) AS n FROM kinora_{table} WHERE state = %s", state)  # ours
        return int(found["n"])

    async def _list_time(self, limit: int) -> float:
        begin = time.perf_counter()
        async with self.pool.transaction() as connection:
            await views.newest_runs(connection, "upscale", task_id=None, state=None, limit=limit)
        return (time.perf_counter() - begin) * 1000

    @asynccontextmanager
    async def _runners(self, count: int, seconds: float) -> AsyncIterator[None]:
        """Run runners in this process, each with its own pool, slot and thread; their models sleep."""

        def work(job: Job, request: Nap, _model: None) -> Result:
            length = seconds * (0.5 + request.task_id * GOLDEN_RATIO % 1)
            for _ in job.watch(range(10), 10):
                time.sleep(length / 10)
            return Result()

        handler = TaskHandler(request=Nap, load=lambda _settings: None, work=work)
        stopping = asyncio.Event()
        async with AsyncExitStack() as stack:
            serving = []
            for number in range(count):
                pool = await Pool(self.uri, size=3).open()
                stack.push_async_callback(pool.close)
                slot = Slot(self.settings.state_dir, f"bench.{number}")
                await slot.take(stopping)
                stack.callback(slot.free)
                model = ModelThread(lambda: handler, self.settings)
                start = ColdStart("upscale", "generate", VERSION, start_seconds=0.0)
                runner = Runner(
                    "upscale", "generate", self.settings, pool=pool, slot=slot, model=model, stopping=stopping,
                    start=start,
                )  # fmt: skip
                serving.append(asyncio.create_task(runner.serve()))
            try:
                yield
            finally:
                stopping.set()
                await asyncio.gather(*serving)


@asynccontextmanager
async def bench(home: Path, port: int) -> AsyncIterator[Bench]:
    """Start a PostgreSQL with room for many runners; callbacks go to a port of this machine."""
    settings = Settings(
        state_dir=home / "state", media_roots=(home,), version=VERSION,
        limits=LimitSettings(max_queued=1_000_000, drain_seconds=0),
        callbacks=CallbackSettings(url=f"http://127.0.0.1:{port}{NOTIFY_PATH}"),
    )  # fmt: skip
    database = Database(settings).start()
    with psycopg.connect(database.uri, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")
    database.stop()
    database = Database(settings).start()
    pool = await Pool(database.uri).open()
    try:
        yield Bench(settings, pool, database.uri)
    finally:
        await pool.close()
        database.stop()
