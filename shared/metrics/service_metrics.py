"""The metrics of one service: its own counters, and values from the database, its runners and the machine.

A query must respect the source of a value (docs/operations.md has the table): what this process counted (accepted,
tries of callbacks, runners) is summed over replicas; what the database says is the same at every replica.
"""

import asyncio
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.metrics_core import Metric

from shared.database.pool import Connection, Pool
from shared.errors import Unavailable
from shared.metrics import task_queries
from shared.metrics.bounded_probe import BoundedProbe
from shared.metrics.ended_tasks import OF_TASK, EndedTaskCounters
from shared.metrics.gpus import GpuMemory, gpu_memory
from shared.metrics.instruments import Counter, gauge, render
from shared.settings import Settings
from shared.vocabulary import ServiceName, TaskKind

CACHE_SECONDS = 2.0  # several scrapes in this time query the database once
DATABASE_SECONDS = 0.6  # with the rest well below one second, the limit for a scrape
MACHINE_SECONDS = 0.3
OUTCOMES = ("delivered", "refused", "unreachable")


@dataclass(frozen=True)
class RunnerState:
    """One runner that this service started."""

    kind: str
    alive: bool
    restarts: int
    pid: int | None


@dataclass(frozen=True)
class DatabaseSnapshot:
    """The result of one query of the database."""

    queue_depths: Sequence[task_queries.QueueDepth]
    undelivered: Sequence[task_queries.UndeliveredCallbacks]
    heartbeats: Sequence[task_queries.VersionHeartbeat]
    helpers: Sequence[task_queries.Helpers]


@dataclass(frozen=True)
class FolderSpace:
    """The file system of a folder."""

    folder: Path
    free_bytes: int
    size_bytes: int


class ServiceMetrics:
    """The metrics of one service. Other code adds to `accepted` and `attempts`, from any thread."""

    def __init__(self, service: ServiceName, settings: Settings, kinds: Sequence[TaskKind], version: str) -> None:
        self._service = service
        self._version = version
        self._kinds = kinds
        self._accepted = Counter(
            "kinora_tasks_accepted_total",
            "Requests that this process accepted; repeat: the task was known, nothing new was stored",
            ("service", "kind", "repeat"),
        )
        self._attempts = Counter(
            "kinora_callback_attempts_total",
            "Tries to deliver a callback, by outcome",
            ("service", "outcome"),
        )
        self._ended_tasks = EndedTaskCounters(service)
        for kind in kinds:
            self._ended_tasks.declare(kind, version)
            for repeat in ("false", "true"):
                self._accepted.add(service, kind, repeat, amount=0)
        for outcome in OUTCOMES:
            self._attempts.add(service, outcome, amount=0)
        folders = (settings.state_dir, *settings.media_roots)
        self._folders = BoundedProbe(lambda: list(_free_space(folders)), seconds=MACHINE_SECONDS)
        self._gpus = BoundedProbe(gpu_memory, seconds=MACHINE_SECONDS)
        self._looking = asyncio.Lock()
        self._looked_at = -CACHE_SECONDS
        self._snapshot: DatabaseSnapshot | None = None

    def accepted(self, kind: TaskKind, *, repeat: bool) -> None:
        """Count an accepted request."""
        self._accepted.add(self._service, kind, "true" if repeat else "false")

    def attempted(self, outcome: str) -> None:
        """Count a try to deliver a callback: delivered, refused (answered otherwise) or unreachable."""
        self._attempts.add(self._service, outcome)

    async def begin(self, pool: Pool) -> None:
        """Count ends from now on. Call as soon as the storage can be reached; raise Unavailable."""
        self._ended_tasks.begin(await pool.run_with_timeout(task_queries.clock))

    async def page(self, pool: Pool | None, runners: Sequence[RunnerState]) -> str:
        """Return the figures as text, within a second whatever hangs."""
        snapshot, folders, gpus = await asyncio.gather(self._look(pool), self._folders.take(), self._gpus.take())
        return render(
            [
                *self._of_process(runners),
                *self._ended_tasks.families(),
                *self._of_database(snapshot),
                *self._of_machine(folders or [], gpus or []),
            ]
        )

    async def machine(self) -> dict[str, Any]:
        """Return GPUs and the file systems of our folders, soon: none where a driver or a network share hangs."""
        folders, gpus = await asyncio.gather(self._folders.take(), self._gpus.take())
        disks = [vars(found) | {"folder": str(found.folder)} for found in folders or []]
        return {"disks": disks, "gpus": [vars(gpu) for gpu in gpus or []]}

    def _of_process(self, runners: Sequence[RunnerState]) -> Iterable[Metric]:
        service, by_kind = self._service, ("service", "kind")
        restarts = Counter("kinora_runner_restarts_total", "Runners started again after they ended", by_kind)
        for runner in runners:
            restarts.add(service, runner.kind, amount=runner.restarts)
        up = [((service, runner.kind), float(runner.alive)) for runner in runners]
        memory = [((service, runner.kind), resident_bytes(runner.pid)) for runner in runners if runner.pid]
        yield gauge(
            "kinora_build_info", "The running version", ("service", "version"), [((service, self._version), 1.0)]
        )
        yield self._accepted.family()
        yield self._attempts.family()
        yield gauge("kinora_runner_up", "Whether this service's own runner is up", by_kind, up)
        yield gauge("kinora_runner_resident_memory_bytes", "Memory of this service's own runner", by_kind, memory)
        yield restarts.family()

    def _of_database(self, snapshot: DatabaseSnapshot | None) -> Iterable[Metric]:
        """Yield what waits, runs and is undelivered; only `kinora_database_up` while the database does not answer."""
        service = self._service
        up = [((service,), 0.0 if snapshot is None else 1.0)]
        yield gauge("kinora_database_up", "Whether the database answers this service", ("service",), up)
        if snapshot is None:
            return
        idle = [
            task_queries.QueueDepth(kind, self._version, state, 0, 0.0)
            for kind in self._kinds
            for state in ("queued", "running")
        ]
        groups = {(group.kind, group.version, group.state): group for group in (*idle, *snapshot.queue_depths)}.values()
        waiting = [((service, group.kind, group.version), group) for group in groups if group.state == "queued"]
        running = [((service, group.kind, group.version), group) for group in groups if group.state == "running"]
        yield gauge("kinora_tasks_waiting", "Tasks in the queue", OF_TASK, [(k, group.tasks) for k, group in waiting])
        yield gauge(
            "kinora_tasks_oldest_waiting_seconds",
            "Time since the oldest task in the queue was accepted",
            OF_TASK,
            [(key, group.oldest_seconds) for key, group in waiting],
        )
        yield gauge("kinora_tasks_running", "Running tasks", OF_TASK, [(key, group.tasks) for key, group in running])
        nobody = [task_queries.Helpers(kind, self._version, 0) for kind in self._kinds]
        busy = {(group.kind, group.version): group.helpers for group in (*nobody, *snapshot.helpers)}
        yield gauge(
            "kinora_helpers_busy",
            "Runners that make segments of another runner's task",
            OF_TASK,
            [((service, *key), count) for key, count in busy.items()],
        )
        ages = [
            ((service, heartbeat.kind, heartbeat.version), heartbeat.age_seconds) for heartbeat in snapshot.heartbeats
        ]
        yield gauge(
            "kinora_runners_silent_seconds",
            "Time since the last heartbeat of any runner of this version",
            OF_TASK,
            ages,
        )
        none = [task_queries.UndeliveredCallbacks(state, 0, 0.0) for state in ("pending", "parked")]
        late = {group.state: ((service, group.state), group) for group in (*none, *snapshot.undelivered)}.values()
        by_state = ("service", "state")
        yield gauge(
            "kinora_callbacks_undelivered",
            "Callbacks that have not arrived: pending ones are tried again, parked ones wait for an operator",
            by_state,
            [(key, group.callbacks) for key, group in late],
        )
        yield gauge(
            "kinora_callbacks_oldest_undelivered_seconds",
            "Time since the oldest of them was first due, or was last replayed",
            by_state,
            [(key, group.oldest_seconds) for key, group in late],
        )

    def _of_machine(self, spaces: Sequence[FolderSpace], gpus: Sequence[GpuMemory]) -> Iterable[Metric]:
        by_folder, by_gpu = ("service", "folder"), ("service", "gpu", "name")
        folders = [((self._service, str(space.folder)), space) for space in spaces]
        free, size = (
            [(key, space.free_bytes) for key, space in folders],
            [(key, space.size_bytes) for key, space in folders],
        )
        yield gauge("kinora_folder_free_bytes", "Free space of the file system of this folder", by_folder, free)
        yield gauge("kinora_folder_size_bytes", "Size of the file system of this folder", by_folder, size)
        cards = [((self._service, str(gpu.index), gpu.name), gpu) for gpu in gpus]
        used, total = [(key, gpu.used_bytes) for key, gpu in cards], [(key, gpu.total_bytes) for key, gpu in cards]
        yield gauge("kinora_gpu_memory_used_bytes", "GPU memory in use by all processes", by_gpu, used)
        yield gauge("kinora_gpu_memory_total_bytes", "GPU memory", by_gpu, total)

    async def _look(self, pool: Pool | None) -> DatabaseSnapshot | None:
        """Query the database, unless that was done a moment ago; None when it does not answer."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= CACHE_SECONDS:
                self._snapshot = None
                if pool is not None:
                    try:
                        self._snapshot, ended = await pool.run_with_timeout(self._ask, seconds=DATABASE_SECONDS)
                        self._ended_tasks.count(ended)
                    except Unavailable:  # already logged
                        self._snapshot = None
                self._looked_at = time.monotonic()
            return self._snapshot

    async def _ask(self, connection: Connection) -> tuple[DatabaseSnapshot, Sequence[task_queries.Ended]]:
        if self._ended_tasks.since is None:
            self._ended_tasks.begin(await task_queries.clock(connection))
        since = self._ended_tasks.since
        assert since
        queue_depths = await task_queries.queue_depths(connection, self._service)
        undelivered = await task_queries.undelivered(connection, self._service)
        heartbeats = await task_queries.heartbeats(connection, self._service)
        helpers = await task_queries.helpers(connection, self._service)
        return DatabaseSnapshot(queue_depths, undelivered, heartbeats, helpers), await task_queries.ended(
            connection, self._service, since
        )


def _free_space(folders: Iterable[Path]) -> Iterable[FolderSpace]:
    """Measure the file systems of those folders that exist."""
    for folder in folders:
        if folder.exists():
            usage = shutil.disk_usage(folder)
            yield FolderSpace(folder, usage.free, usage.total)


def resident_bytes(pid: int) -> float:
    """Return the resident memory of a process in bytes; 0 when it has ended meanwhile."""
    try:
        return float(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0.0
