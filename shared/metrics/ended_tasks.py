"""Counters of ended tasks, from what the database shows at each query."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client.metrics_core import Metric

from shared.metrics.instruments import Counter, Histogram
from shared.metrics.task_queries import Ended
from shared.tasks.recovery import CRASH_LIMIT
from shared.vocabulary import ServiceName

OVERLAP = timedelta(seconds=60)  # a row is stamped when its last transaction begins, and seen when that has ended
ENDS = ("succeeded", "failed", "cancelled")
STORED = {True: "stored", False: "failed"}  # outcomes, by what a task's details say
OF_TASK = ("service", "kind", "version")
RUN_BOUNDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
WAIT_BOUNDS = (0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 14400)


class EndedTaskCounters:
    """Counts every task that ended after `begun` once. Rows that are purged later stay counted."""

    def __init__(self, service: ServiceName) -> None:
        self._service = service
        self._begun: datetime | None = None
        self._newest: datetime | None = None
        self._counted: dict[UUID, datetime] = {}  # those that the next query, with its overlap, would show again
        self._ended = Counter("kinora_tasks_ended_total", "Tasks that have ended", (*OF_TASK, "state"))
        self._poisoned = Counter(
            "kinora_tasks_poisoned_total", "Tasks that failed because they crashed their runner repeatedly", OF_TASK
        )
        self._crashes = Counter("kinora_task_crashes_total", "Runs of ended tasks in which the runner died", OF_TASK)
        self._frames = Counter("kinora_frames_total", "Frames in the results of succeeded tasks", OF_TASK)
        self._segments = Counter(
            "kinora_segments_finished_total", "Finished segments of ended tasks that were made in segments", OF_TASK
        )
        self._repeated = Counter(
            "kinora_segments_repeated_total",
            "Segments of ended tasks that were begun again, after a kill mostly",
            OF_TASK,
        )
        self._stored = Counter(
            "kinora_results_stored_total",
            "Succeeded tasks whose results went into the bucket, or did not although they should",
            (*OF_TASK, "outcome"),
        )
        self._run = Histogram("kinora_task_run_seconds", "Last attempt of succeeded tasks", OF_TASK, RUN_BOUNDS)
        self._wait = Histogram("kinora_task_wait_seconds", "From acceptance to the first attempt", OF_TASK, WAIT_BOUNDS)

    def begin(self, now: datetime) -> None:
        """Count what ends after this time of the database; a second call changes nothing."""
        self._begun = self._begun or now
        self._newest = self._newest or now

    @property
    def since(self) -> datetime | None:
        """The time from which the next query must show ended tasks; None before the start."""
        return None if self._newest is None else self._newest - OVERLAP

    def declare(self, kind: str, version: str) -> None:
        """Make the series of a kind and version exist at 0: Prometheus sees no increase in a series' first sample."""
        labels = (self._service, kind, version)
        for state in ENDS:
            self._ended.add(*labels, state, amount=0)
        for tally in (self._poisoned, self._crashes, self._frames, self._segments, self._repeated):
            tally.add(*labels, amount=0)
        for outcome in STORED.values():
            self._stored.add(*labels, outcome, amount=0)
        for spread in (self._run, self._wait):
            spread.declare(*labels)

    def count(self, tasks: Sequence[Ended]) -> None:
        """Count the tasks that a query from `since` on has shown."""
        assert self._begun
        assert self._newest
        for task in tasks:
            if task.finished_at > self._begun and task.id not in self._counted:
                self._count(task)
        self._newest = max([self._newest, *(task.finished_at for task in tasks)])
        known = self._counted | {task.id: task.finished_at for task in tasks}
        self._counted = {task: at for task, at in known.items() if at > self._newest - OVERLAP}

    def families(self) -> Iterable[Metric]:
        counters = (
            self._ended, self._poisoned, self._crashes, self._frames, self._segments, self._repeated, self._stored
        )  # fmt: skip
        for figure in (*counters, self._run, self._wait):
            yield figure.family()

    def _count(self, task: Ended) -> None:
        labels = (self._service, task.kind, task.version)
        self.declare(task.kind, task.version)
        self._ended.add(*labels, task.state)
        self._crashes.add(*labels, amount=task.crashes)
        self._segments.add(*labels, amount=task.segments or 0)
        self._repeated.add(*labels, amount=task.repeated or 0)
        if task.state == "failed" and task.crashes >= CRASH_LIMIT:
            self._poisoned.add(*labels)
        if task.stored is not None:
            self._stored.add(*labels, STORED[task.stored])
        if task.wait_seconds is not None:
            self._wait.add(*labels, value=task.wait_seconds)
        if task.state == "succeeded" and task.run_seconds is not None:
            self._run.add(*labels, value=task.run_seconds)
            self._frames.add(*labels, amount=task.frames or 0)
