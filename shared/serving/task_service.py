"""The desk of a service: accepts tasks durably, shows them, cancels them. Owns nothing of the GPU."""

import asyncio
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from shared.contract.messages import Answer, TaskView
from shared.contract.request import TaskRequest
from shared.database.database import Database
from shared.database.pool import Connection, Pool
from shared.delivery.worker import CallbackWorker
from shared.errors import Busy, JobFailed, Rejected, Unavailable
from shared.files.media_roots import MediaRoots
from shared.media.probe import MediaHeader, MediaKind, ProbePool
from shared.metrics.service_metrics import RunnerState, ServiceMetrics
from shared.queue.client import HEARTBEAT_SECONDS, Queue, run_queue
from shared.queue.worker_slot import Slot
from shared.serving.runner_supervisor import Supervisor
from shared.settings import Settings
from shared.tasks import callbacks, rows, views
from shared.tasks.cancellation import cancel_all, end_waiting
from shared.tasks.rows import TaskRow
from shared.tasks.workspace import Workspace, check_disk_space
from shared.vocabulary import ServiceName, TaskKind, TaskState

PULSE_SECONDS = 1.0
START_SECONDS = 20.0
FORWARD_HEARTBEAT_SECONDS = 120.0  # a runner without a turn of its loop for so long ends itself
UNRESPONSIVE_SECONDS = 3.0  # without a beat, and seen so for as long again: such a runner hears no cancel

logger = logging.getLogger("bentoml.kinora.desk")


@dataclass(frozen=True)
class ValidatedRequest:
    """A request whose paths lead where they may and whose media has a readable header."""

    request: TaskRequest
    paths: Mapping[str, Path]  # field -> resolved input
    headers: Mapping[str, MediaHeader]
    dist_dir: Path
    fingerprint: str


Prepare = Callable[[ValidatedRequest], Awaitable[dict[str, Any]]]


class TaskService:
    """What the HTTP face of one service holds: `start` and `stop` with the process, the rest at any time between."""

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
        self._roots = MediaRoots(settings)
        self._workplace = Workspace(settings)
        self._database = Database(settings)
        self._probes = ProbePool(settings)
        module = runner_module or f"services.{service}.runner"
        self._lanes = {kind: Supervisor(module, kind, settings) for kind in kinds}
        self._supervisors = list(self._lanes.values())
        self._meter = ServiceMetrics(service, settings, kinds, settings.version)
        self._heartbeats_sent_at = -math.inf
        self._unresponsive: dict[UUID, float] = {}  # since when a cancelled run has been seen without a beat
        self._pool: Pool | None = None
        self._queue: Queue | None = None
        self._delivery: CallbackWorker | None = None
        self._pulse: asyncio.Task[None] | None = None
        self._storage_reachable = False
        self._parent = 0

    async def start(self) -> None:
        """Open the storage and start the runners. A storage that is away delays readiness, not the process."""
        self._parent = os.getppid()
        for supervisor in self._supervisors:
            supervisor.start()
        self._pulse = asyncio.create_task(self._watch_storage(), name="desk-pulse")
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while not self._storage_reachable:  # noqa: ASYNC110  # a flag that also falls
                    await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Let the runners finish or hand back, then let the last callbacks leave, then go.

        When the process that started us is gone, nobody waits for us: the runners drain on their own.
        """
        orphaned = os.getppid() != self._parent
        stops = [asyncio.to_thread(s.abandon if orphaned else s.stop) for s in self._supervisors]
        await asyncio.gather(*stops, self._probes.close())
        if self._delivery:
            await asyncio.to_thread(self._delivery.stop, 0 if orphaned else 3.0)
        if self._pulse:
            self._pulse.cancel()
            with suppress(asyncio.CancelledError):
                await self._pulse
        if self._pool:
            await self._pool.close()
        await asyncio.to_thread(self._database.stop)

    def ready(self) -> bool:
        """Return True only while the storage answers, callbacks can leave, and every runner is up."""
        delivering = self._delivery is not None and self._delivery.alive
        return self._storage_reachable and delivering and all(supervisor.alive for supervisor in self._supervisors)

    @property
    def runner_pids(self) -> list[int]:
        return [supervisor.pid for supervisor in self._supervisors if supervisor.pid is not None]

    async def metrics(self) -> str:
        """Return this service's figures for Prometheus, within a second, whatever is away."""
        runners = [RunnerState(kind, lane.alive, lane.restarts, lane.pid) for kind, lane in self._lanes.items()]
        return await self._meter.page(self._pool, runners)

    async def accept(
        self,
        request: TaskRequest,
        *,
        inputs: Mapping[str, MediaKind],
        kind: TaskKind = "generate",
        prepare: Prepare | None = None,
    ) -> Answer:
        """Accept a task durably, once; raise Rejected, UnreadableMedia, Busy or Unavailable.

        `inputs` says which fields name media and what it must be. `prepare` returns what the pipeline gets as
        `job.context`; it is awaited before anything is stored, and what it rejects is news only for a new task.
        """
        pool, queue = self._storage()
        version = self._settings.version
        checked = await self._check(request, inputs)
        context, refusal = await _prepared(prepare, checked)

        async def store(connection: Connection) -> bool:
            """Write the row and queue its job; False when there is nothing new to run."""
            await rows.lock_service(connection, self._service)
            if await self._known_already(connection, queue, checked, kind):
                return False
            if refusal:
                raise refusal
            if await rows.waiting(connection, self._service, kind) >= self._settings.max_queued:
                raise Busy("queue_full", limit=self._settings.max_queued)
            row = await rows.insert(
                connection,
                service=self._service,
                kind=kind,
                task_id=request.task_id,
                fingerprint=checked.fingerprint,
                request=request.model_dump(mode="json"),
                context=context,
                version=version,
            )
            await rows.note_job(connection, row, await queue.defer_run(connection, self._service, kind, version, row))
            return True

        self._meter.accepted(kind, repeat=not await pool.run_with_timeout(store))
        return Answer()

    async def tasks(
        self, *, task_id: int | None = None, state: TaskState | None = None, limit: int = 50
    ) -> list[TaskView]:
        """Return the newest run of each job and preview, newest first; raise Unavailable."""
        pool, _ = self._storage()
        return await pool.run_with_timeout(
            partial(views.newest_runs, service=self._service, task_id=task_id, state=state, limit=limit)
        )

    async def cancel(self, task_id: int, *, kind: TaskKind | None = None, id: str | None = None) -> Answer:  # noqa: A002  # its name on the wire
        """Cancel every queued or running match: a queued one now, a running one within 10 s. Raise Rejected if none."""
        pool, queue = self._storage()
        language = self._settings.language
        rows = await pool.run_with_timeout(
            lambda connection: cancel_all(connection, queue, self._service, task_id, language, kind=kind, row=id)
        )
        if not rows:
            raise Rejected("task_not_active", task_id=task_id)
        await self._clear(rows)
        return Answer()

    async def newest_artifact(self, key: str, *, task_id: int | None = None) -> dict[str, Any] | None:
        """Return what the newest succeeded run with this `artifact_key` left, of one task or of any."""
        pool, _ = self._storage()
        return await pool.run_with_timeout(
            partial(rows.newest_artifact, service=self._service, key=key, task_id=task_id)
        )

    async def _check(self, request: TaskRequest, inputs: Mapping[str, MediaKind]) -> ValidatedRequest:
        """Everything that can be known before storing anything: paths, headers, disk."""
        paths, dist_dir, fingerprint = await asyncio.to_thread(self._resolve, request, inputs)
        headers = {field: await self._probes.probe(paths[field], kind) for field, kind in inputs.items()}
        return ValidatedRequest(request, paths, headers, dist_dir, fingerprint)

    def _resolve(self, request: TaskRequest, inputs: Iterable[str]) -> tuple[dict[str, Path], Path, str]:
        """Look at the file system, which may be slow: return the inputs, the output folder, and the fingerprint."""
        fields = request.model_dump(mode="json")
        paths = {field: self._roots.input(field, fields[field]) for field in inputs}
        dist_dir = self._roots.dist_dir("dist_dir", request.dist_dir)
        sizes = [path.stat() for path in paths.values()]
        try:
            check_disk_space([dist_dir], sum(size.st_size for size in sizes))
            check_disk_space([self._settings.state_dir])  # no copy of an input is made there
        except JobFailed as problem:
            raise Rejected(problem.key, **problem.facts) from problem
        fields |= {field: str(path) for field, path in paths.items()} | {"dist_dir": str(dist_dir)}
        told = [fields, [(size.st_size, size.st_mtime_ns) for size in sizes]]
        return paths, dist_dir, hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    async def _known_already(
        self, connection: Connection, queue: Queue, checked: ValidatedRequest, kind: TaskKind
    ) -> bool:
        """Answer a body that was posted before; True when there is nothing to run."""
        task_id = checked.request.task_id
        for row in await rows.active(connection, self._service, task_id, kind=kind):
            if row.fingerprint == checked.fingerprint:
                if row.cancel:
                    raise Rejected("task_stopping", task_id=task_id)
                return True
            if kind == "generate":
                raise Rejected("task_active", task_id=task_id, state=row.state)
            if row.state == "queued":
                await end_waiting(connection, queue, row, JobFailed("superseded"), self._settings.language)
        last = await rows.newest_of(connection, self._service, kind, task_id, checked.fingerprint)
        if last and last.state == "succeeded" and await asyncio.to_thread(_files_exist, checked.dist_dir, last):
            await callbacks.enqueue_callback(connection, queue, last)
            return True
        return False

    async def _clear(self, rows: list[TaskRow]) -> None:
        """Sweep what earlier attempts of runs that were waiting again had left."""
        for row in rows:
            if row.state == "queued" and row.attempt:
                await asyncio.to_thread(self._workplace.clear, row)

    def _storage(self) -> tuple[Pool, Queue]:
        if self._pool is None or self._queue is None:
            raise Unavailable("storage_unavailable")
        return self._pool, self._queue

    async def _watch_storage(self) -> None:
        """Open the storage, however long it takes; then keep knowing whether it answers, and whether runners hear."""
        while True:
            try:
                if self._pool is None or self._queue is None:
                    self._pool = await self._open_storage()
                    self._queue = Queue()
                    await self._meter.begin(self._pool)
                self._storage_reachable = await self._pool.is_reachable()
                if self._storage_reachable:
                    await self._send_heartbeats(self._pool, self._queue)
                    await self._replace_unresponsive(self._pool, self._queue)
            except Unavailable:
                logger.warning("no storage yet")
            except Exception:  # the watch must outlive anything
                logger.exception("the desk's watch stumbled; going on")
                self._storage_reachable = False
            await asyncio.sleep(PULSE_SECONDS)

    async def _open_storage(self) -> Pool:
        await asyncio.to_thread(self._database.start)
        if self._delivery is None:
            self._delivery = CallbackWorker(self._settings, self._service, self._database.uri, self._meter.attempted)
            self._delivery.start()
        return await Pool(self._database.uri).open()

    async def _send_heartbeats(self, pool: Pool, queue: Queue) -> None:
        """Speak for runners of ours that live: where the cores burn they are the last to get one.

        Their silence would be taken for death. One that has said nothing of its task for long is not spoken for.
        """
        if time.monotonic() < self._heartbeats_sent_at + HEARTBEAT_SECONDS:
            return
        ours = {self._slot(kind).worker for kind, lane in self._lanes.items() if lane.alive}

        async def speak(connection: Connection) -> None:
            at_work = await queue.workers(
                connection, await rows.with_recent_heartbeat(connection, self._service, FORWARD_HEARTBEAT_SECONDS)
            )
            for worker in set(at_work.values()) & ours:
                await queue.send_heartbeat_for(connection, worker)

        await pool.run_with_timeout(speak)
        self._heartbeats_sent_at = time.monotonic()

    def _slot(self, kind: TaskKind) -> Slot:
        return Slot(self._settings.state_dir, f"{run_queue(self._service, kind, self._settings.version)}.0")

    async def _replace_unresponsive(self, pool: Pool, queue: Queue) -> None:
        """Kill a runner of ours that is stopped or wedged and so does not see that its task was cancelled.

        Its successor gives the task its end. A runner that beats again once the storage is back is left alone.
        """

        async def look(connection: Connection) -> tuple[list[TaskRow], dict[int, int]]:
            found = await rows.cancelled_without_heartbeat(connection, self._service, UNRESPONSIVE_SECONDS)
            return found, await queue.workers(connection, [row.job_id for row in found if row.job_id is not None])

        cancelled_without_heartbeat, workers = await pool.run_with_timeout(look)
        now = time.monotonic()
        self._unresponsive = {row.id: self._unresponsive.get(row.id, now) for row in cancelled_without_heartbeat}
        for row in cancelled_without_heartbeat:
            worker = self._slot(row.kind).worker
            ours = row.kind in self._lanes and row.job_id in workers and workers[row.job_id] == worker
            if ours and now - self._unresponsive[row.id] >= UNRESPONSIVE_SECONDS:
                logger.error(
                    "the runner of task %s does not hear that it was cancelled: killed",
                    row.task_id,
                    extra={"task_id": row.task_id, "kind": row.kind},
                )
                self._lanes[row.kind].replace()
                self._unresponsive[row.id] = math.inf  # once: its successor needs time to begin


async def _prepared(prepare: Prepare | None, checked: ValidatedRequest) -> tuple[dict[str, Any], Rejected | None]:
    """Return the context of a task, or why there cannot be one."""
    try:
        return (await prepare(checked) if prepare else {}), None
    except Rejected as refusal:
        return {}, refusal


def _files_exist(dist_dir: Path, row: TaskRow) -> bool:
    """Whether every file that a callback told of is still there."""
    result = row.result or {}
    names = [result.get("video_url"), result.get("preview_image"), *cast("list[str]", result.get("reference_images"))]
    return all((dist_dir / name).is_file() for name in names if name)
