"""The tasks of one service: accepts them durably, lists and cancels them, and keeps the runners that work on them."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from shared.contract.messages import Answer, TaskView
from shared.contract.request import TaskRequest
from shared.database.database import Database
from shared.database.pool import Pool
from shared.delivery.worker import LAST_CALLBACK_SECONDS, CallbackWorker
from shared.errors import Rejected, Unavailable
from shared.media.probe import MediaKind
from shared.metrics.service_metrics import RunnerState, ServiceMetrics
from shared.pipeline.work import WorkOf
from shared.queue.client import Queue
from shared.serving.acceptance import Acceptance, Prepare
from shared.serving.expected_runners import ExpectedRunners
from shared.serving.runner_monitor import RunnerMonitor
from shared.serving.runner_supervisor import Supervisor
from shared.serving.state_loss import end_with_bentoml
from shared.serving.state_room import StateRoom
from shared.serving.task_records import TaskRecords
from shared.serving.turns import Turns
from shared.settings import Settings
from shared.tasks import rows, views
from shared.tasks.cancellation import cancel_all
from shared.tasks.rows import TaskRow
from shared.tasks.workspace import Workspace
from shared.tracing import span as tracing
from shared.tracing.tracer import Tracer
from shared.vocabulary import ServiceName, TaskKind, TaskState

WATCH_SECONDS = 1.0
START_SECONDS = 20.0
CONNECTIONS = 4  # of one service's callers, to the database

logger = logging.getLogger("bentoml.kinora.task_service")


class TaskService:
    """What the HTTP face of one service holds: `start` and `stop` with the process, the rest at any time between.

    It owns nothing of the GPU. Supervisors and callbacks have threads of their own; what is here belongs to the event
    loop.
    """

    def __init__(
        self,
        service: ServiceName,
        settings: Settings,
        *,
        kinds: tuple[TaskKind, ...] = ("generate",),
        runner_module: str | None = None,
    ) -> None:
        self._service = service
        self._settings = settings
        self._workspace = Workspace(settings)
        self._database = Database(settings, on_loss=end_with_bentoml)
        module = runner_module or f"services.{service}.runner"
        own, elsewhere = (kinds, ()) if settings.own_runners else ((), kinds)
        self._supervisors = {kind: Supervisor(module, kind, settings) for kind in own}
        self._monitor = RunnerMonitor(service, settings, self._supervisors)
        self._expected = ExpectedRunners(service, settings, elsewhere)
        self._acceptance = Acceptance(service, settings)
        self._tracer = Tracer.of(settings, service)
        self._metrics = ServiceMetrics(service, settings, kinds, settings.version)
        self._turns = Turns(CONNECTIONS - 1)  # and one for `_acceptance`
        self.records = TaskRecords(
            service, settings, storage=self._storage, turns=self._turns, metrics=self._metrics,
            supervisors=self._supervisors, ready=self.ready,
        )  # fmt: skip
        self._pool: Pool | None = None
        self._pulse: Pool | None = None  # of the service itself: no burst of callers keeps it from the storage
        self._queue: Queue | None = None
        self._delivery: CallbackWorker | None = None
        self._watch: asyncio.Task[None] | None = None
        self._storage_reachable = False
        self._room = StateRoom(settings.state_dir)
        self._parent = 0

    async def start(self) -> None:
        """Open the storage and start the runners. A storage that is away delays readiness, not the process."""
        self._parent = os.getppid()
        for supervisor in self._supervisors.values():
            supervisor.start()
        self._watch = asyncio.create_task(self._watch_storage(), name="watch-storage")
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while not self._storage_reachable:  # noqa: ASYNC110  # a flag that also falls
                    await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Let the runners finish or requeue their tasks, then the last callbacks leave; then close the storage.

        When the process that started us is gone, nobody waits for us: the runners drain on their own.
        """
        orphaned = os.getppid() != self._parent
        stops = [asyncio.to_thread(s.detach if orphaned else s.stop) for s in self._supervisors.values()]
        await asyncio.gather(*stops, self._acceptance.close())
        if self._delivery:
            await asyncio.to_thread(self._delivery.stop, 0 if orphaned else LAST_CALLBACK_SECONDS)
        await asyncio.to_thread(self._tracer.close)
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        for pool in (self._pool, self._pulse):
            if pool:
                await pool.close()
        await asyncio.to_thread(self._database.stop)

    def ready(self) -> bool:
        """Return True only while the storage answers and has room, callbacks can leave, and every own runner is up."""
        delivering = self._delivery is not None and self._delivery.alive
        storing = self._storage_reachable and not self._room.problem
        return storing and delivering and all(s.alive for s in self._supervisors.values())

    async def metrics(self) -> str:
        """Return this service's figures for Prometheus, within a second, whatever is away."""
        runners = [RunnerState(kind, s.alive, s.restarts, s.pid) for kind, s in self._supervisors.items()]
        return await self._metrics.page(self._pulse, runners)

    async def accept(
        self,
        request: TaskRequest,
        *,
        inputs: Mapping[str, MediaKind],
        kind: TaskKind = "generate",
        prepare: Prepare | None = None,
        work: WorkOf | None = None,
    ) -> Answer:
        """Accept a task durably, once; raise Rejected, UnreadableMedia, Busy or Unavailable.

        `inputs` says which fields name media and what it must be. `prepare` returns what the pipeline gets as
        `job.context`; it is awaited before anything is stored, and what it rejects is news only for a new task. `work`
        says what a video of some size becomes: more than the settings allow is rejected.
        """
        pool, queue = self._storage()
        facts = {"kinora.service": self._service, "kinora.kind": kind, "kinora.task_id": request.task_id}
        with self._tracer.span("accept", tracing.current().traceparent, "producer", facts) as span:
            new = await self._acceptance.accept(
                pool, queue, request, inputs=inputs, kind=kind, prepare=prepare, work=work
            )
            span.note({"kinora.repeat": not new})
        self._metrics.accepted(kind, repeat=not new)
        return Answer()

    async def tasks(
        self, *, task_id: int | None = None, state: TaskState | None = None, limit: int = 50
    ) -> list[TaskView]:
        """Return the newest run of each job and preview, newest first; raise Unavailable."""
        pool, _ = self._storage()
        return await self._turns.run(
            pool,
            partial(views.newest_runs, service=self._service, task_id=task_id, state=state, limit=limit),
            snapshot=True,
        )

    async def cancel(self, task_id: int, *, kind: TaskKind | None = None, id: str | None = None) -> Answer:  # noqa: A002  # its name on the wire
        """Cancel every queued or running match: a queued one now, a running one within 10 s. Raise Rejected if none."""
        pool, queue = self._storage()
        language = self._settings.language
        rows = await self._turns.run(
            pool,
            lambda connection: cancel_all(connection, queue, self._service, task_id, language, kind=kind, row=id),
        )
        if not rows:
            raise Rejected("task_not_active", task_id=task_id)
        await self._clear(rows)
        return Answer()

    async def newest_artifact(self, key: str, *, task_id: int | None = None) -> dict[str, Any] | None:
        """Return what the newest succeeded run with this `artifact_key` left, of one task or of any."""
        pool, _ = self._storage()
        return await self._turns.run(
            pool, partial(rows.newest_artifact, service=self._service, key=key, task_id=task_id)
        )

    async def _clear(self, rows: list[TaskRow]) -> None:
        """Remove what earlier attempts of runs that were waiting again had left."""
        for row in rows:
            if row.state == "queued" and row.attempt:
                await asyncio.to_thread(self._workspace.clear, row)

    def _storage(self) -> tuple[Pool, Queue]:
        if self._pool is None or self._queue is None:
            raise Unavailable("storage_unavailable")
        return self._pool, self._queue

    async def _watch_storage(self) -> None:
        """Open the storage, however long it takes; then watch whether it answers, and what the runners do."""
        said = ""
        while True:
            try:
                if self._pulse is None or self._queue is None:
                    self._pulse, self._pool = await self._open_storage()
                    self._queue = Queue()
                    await self._metrics.begin(self._pulse)
                await self._room.look()
                self._storage_reachable = await self._pulse.is_reachable()
                if self._storage_reachable:
                    await self._monitor.check(self._pulse, self._queue)
                    await self._expected.check(self._pulse)
                said = ""
            except Unavailable as problem:
                if str(problem) != said:
                    logger.warning("the storage cannot be used; retrying: %s", problem)
                said = str(problem)
            except Exception:  # the watch must outlive anything
                logger.exception("watching the storage failed; retrying")
                self._storage_reachable = False
            await asyncio.sleep(WATCH_SECONDS)

    async def _open_storage(self) -> tuple[Pool, Pool]:
        """Return the service's own connection and those of its callers."""
        await asyncio.to_thread(self._database.start)
        if self._delivery is None:
            self._delivery = CallbackWorker(
                self._settings, self._service, self._database.uri, self._metrics.attempted, self._tracer
            )
            self._delivery.start()
        uri = self._database.uri
        return await Pool(uri, size=1).open(), await Pool(uri, size=CONNECTIONS, idle=0).open()
