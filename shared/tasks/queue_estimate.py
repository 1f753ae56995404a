"""When the waiting and running tasks of one kind will be done, from what earlier ones took."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from shared.database.pool import Connection
from shared.tasks import cold_starts
from shared.tasks.cold_starts import ColdStarts
from shared.vocabulary import ServiceName, TaskKind

SAMPLE = 20  # runs whose duration predicts the next one's
TELLING_PACE = 0.01  # below this progress a running task's own rate is used only when nothing else is known

_MEGAPIXELS = "(details #>> '{work,megapixels}')::float8"  # shared.pipeline.work estimated them at acceptance

RUNNING = f"""
    SELECT id, runs_on, pace, resumed_at, {_MEGAPIXELS} AS megapixels, load_seconds FROM kinora_tasks
    WHERE service = %s AND kind = %s AND state = 'running'
"""  # noqa: S608  # a constant of ours

# The server counts what stands before a task: thousands may wait, and few are asked for.
WAITING = f"""
    SELECT id, runs_on, position, megapixels, position - measured AS unmeasured, since FROM (
        SELECT id, runs_on, row_number() OVER queue AS position, count(megapixels) OVER queue AS measured,
            coalesce(sum(megapixels) OVER queue, 0) AS megapixels, min(since) OVER queue AS since
        FROM (
            SELECT id, runs_on, job_id, {_MEGAPIXELS} AS megapixels, greatest(created_at, requeued_at) AS since
            FROM kinora_tasks
            WHERE service = %s AND kind = %s AND state = 'queued'
        ) waiting
        WINDOW queue AS (PARTITION BY runs_on ORDER BY job_id ROWS UNBOUNDED PRECEDING)
    ) placed WHERE id = ANY(%s)
"""  # noqa: S608  # a constant of ours

USUAL = f"""
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds / nullif(megapixels, 0)) AS seconds_a_megapixel
    FROM (
        SELECT greatest(0, extract(epoch FROM finished_at - resumed_at) - coalesce(load_seconds, 0))::float8 AS seconds,
            {_MEGAPIXELS} AS megapixels
        FROM kinora_tasks
        WHERE service = %s AND kind = %s AND state = 'succeeded' ORDER BY created_at DESC LIMIT %s
    ) recent
"""  # noqa: S608  # a constant of ours


@dataclass(frozen=True)
class Usual:
    """The medians of recent runs, without loading a model; None before the first."""

    seconds: float | None = None
    seconds_a_megapixel: float | None = None

    def of(self, megapixels: float, *, measured: int, unmeasured: int) -> float | None:
        """Return how long tasks take, of which some are so much work together, and that of others is not known."""
        if measured and self.seconds_a_megapixel is None:
            measured, unmeasured = 0, measured + unmeasured
        known = megapixels * (self.seconds_a_megapixel or 0) if measured else 0.0
        if not unmeasured:
            return known
        return None if self.seconds is None else known + unmeasured * self.seconds


@dataclass(frozen=True)
class RunningTask:
    """What is needed of a running row."""

    id: UUID
    runs_on: str | None
    pace: float
    resumed_at: datetime | None
    megapixels: float | None
    load_seconds: float | None = None  # how much of it goes to loading the model; None: that was loaded

    def remaining(self, usual: Usual, now: datetime) -> float | None:
        """Return the seconds that it still needs: by its own pace, else as usual; None if unknown."""
        elapsed = (now - self.resumed_at).total_seconds() if self.resumed_at else 0.0
        worked = elapsed - (self.load_seconds or 0.0)  # below 0 while the model is being loaded
        measured = self.megapixels is not None
        expected = usual.of(self.megapixels or 0.0, measured=measured, unmeasured=not measured)
        if self.pace <= TELLING_PACE and expected is not None and expected > worked:
            return expected - worked
        return (worked if worked > 0 else elapsed) * (1 - self.pace) / self.pace if self.pace > 0 else None


@dataclass(frozen=True)
class WaitingTask:
    """A waiting row's place: the work up to it and with it, and how many of these tasks' work is not known."""

    id: UUID
    runs_on: str | None
    position: int  # 1 is the next to run
    megapixels: float
    unmeasured: int
    since: datetime | None = None  # when the first up to it began to wait

    def seconds(self, usual: Usual) -> float | None:
        """Return how long one runner takes to get through the queue up to its end."""
        return usual.of(self.megapixels, measured=self.position - self.unmeasured, unmeasured=self.unmeasured)


class QueueEstimate:
    """Positions and times of the active tasks of one kind. Each version has a queue and runners of its own."""

    def __init__(
        self,
        running: Sequence[RunningTask],
        waiting: Sequence[WaitingTask],
        usual: Usual,
        now: datetime,
        starts: ColdStarts | None = None,
    ) -> None:
        starts = starts or ColdStarts()
        self._positions = {task.id: task.position for task in waiting}
        self._seconds = {task.id: task.remaining(usual, now) for task in running}
        runners = Counter(task.runs_on for task in running)
        for task in waiting:
            parts = [self._seconds[other.id] for other in running if other.runs_on == task.runs_on]
            known = [part for part in (*parts, task.seconds(usual)) if part is not None]
            complete = len(known) > len(parts)
            start = starts.ahead(task.runs_on, task.since, now)
            work = sum(known) / max(1, runners[task.runs_on]) if complete else None
            self._seconds[task.id] = None if work is None or start is None else start + work

    @classmethod
    async def read(
        cls, connection: Connection, service: ServiceName, kind: TaskKind, waiting: Sequence[UUID]
    ) -> "QueueEstimate":
        """Read what runs now, where those that are `waiting` stand, and what was usual lately."""
        running = await (await connection.execute(RUNNING, (service, kind))).fetchall()
        places, starts = [], ColdStarts()
        if waiting:
            starts = ColdStarts(await cold_starts.read(connection, service, kind))
            places = await (await connection.execute(WAITING, (service, kind, list(waiting)))).fetchall()
        usual = await (await connection.execute(USUAL, (service, kind, SAMPLE))).fetchone()
        return cls(
            [RunningTask(**task) for task in running],
            [WaitingTask(**task) for task in places],
            Usual(**usual or {}),
            datetime.now(UTC),
            starts,
        )

    def position(self, task: UUID) -> int | None:
        """1 is the next to run; None for a task that does not wait."""
        return self._positions.get(task)

    def eta_seconds(self, task: UUID) -> float | None:
        """Return when an active task will be done, from rates that were measured; None when there are none yet."""
        return self._seconds.get(task)
