"""The callback worker: it delivers callbacks and does periodic tasks, inside the service's process.

It has a thread and an event loop of its own, so that a slow receiver never slows an answer.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from shared.database.pool import Pool
from shared.delivery.sender import CallbackSender
from shared.errors import Unavailable
from shared.queue.client import CALLBACKS, DELIVER, HOUSEKEEPING, Queue
from shared.queue.worker import QueueWorker, WorkerPlan
from shared.queue.worker_slot import Slot
from shared.settings import Settings
from shared.tasks.recovery import TaskRecovery
from shared.tracing.tracer import Tracer
from shared.vocabulary import ServiceName

CONCURRENCY = 8
PAUSE_SECONDS = 5.0  # before a worker that failed starts again
POLLING_SECONDS = 1.0  # retries come without a notification
LAST_CALLBACK_SECONDS = 3.0
LONGEST_TRY_SECONDS = 20.0  # for tries that have begun; after that the worker may end with the process

logger = logging.getLogger(__name__)


class CallbackWorker:
    """Delivers the callbacks of every service on this database, while the process lives."""

    def __init__(
        self,
        settings: Settings,
        service: ServiceName,
        uri: str,
        attempted: Callable[[str], None] = lambda _outcome: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer or Tracer()
        self._settings = settings
        self._attempted = attempted
        self._uri = uri
        self._slot = Slot(settings.state_dir, f"{CALLBACKS}.{service}")
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._pool: Pool | None = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience_seconds: float = LAST_CALLBACK_SECONDS) -> None:
        """Send callbacks that were never tried, for up to `patience_seconds`; then stop. Blocks."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._finish(patience_seconds), self._loop)
        self._thread.join(patience_seconds + LONGEST_TRY_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve_on())

    async def _serve_on(self) -> None:
        """Serve until told to stop; start again after every failure."""
        while not self._stopping.is_set():
            try:
                await self._serve()
            except Exception:
                logger.exception("the callback worker failed; starting again")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), PAUSE_SECONDS)

    async def _serve(self) -> None:
        if not await self._slot.take(self._stopping):
            return
        pool = await Pool(self._uri).open()
        sender = CallbackSender(self._settings, pool, self._attempted, self._tracer)
        try:
            self._pool = pool
            await self._work(pool, sender)
        finally:
            self._pool = None
            await sender.close()
            await pool.close()
            self._slot.free()

    async def _work(self, pool: Pool, sender: CallbackSender) -> None:
        recovery = TaskRecovery(self._settings, pool, Queue(), self._tracer)
        plan = WorkerPlan(
            queues=(CALLBACKS, HOUSEKEEPING),
            handlers={DELIVER: sender.deliver},
            periodic_tasks=recovery.periodic_tasks,
            recover=recovery.recover_job,
            every_heartbeat=(recovery.reap_dead_workers, sender.probe),
            concurrency=CONCURRENCY,
            polling_seconds=POLLING_SECONDS,
        )
        await QueueWorker(pool.raw, self._slot).serve(plan, self._stopping)

    async def _finish(self, patience_seconds: float) -> None:
        deadline = time.monotonic() + patience_seconds
        try:
            while self._pool and time.monotonic() < deadline and await self._untried(self._pool):  # noqa: ASYNC110  # rows, no event
                await asyncio.sleep(0.05)
        except Unavailable:
            logger.warning("the storage cannot be reached; callbacks wait for the next start")
        self._stopping.set()

    async def _untried(self, pool: Pool) -> bool:
        async with pool.transaction() as connection:
            cursor = await connection.execute(
                "SELECT 1 FROM kinora_callbacks WHERE state = 'pending' AND attempts = 0 LIMIT 1"
            )
            return await cursor.fetchone() is not None
