"""When the waiting and running tasks of one kind will be done, from what earlier ones took."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.database.pool import Connection
from shared.vocabulary import ServiceName, TaskKind

SAMPLE = 20  # runs whose duration predicts the next one's
TELLING_PACE = 0.01  # below this progress a running task's own rate is used only when nothing else is known

_MEGAPIXELS = "(details #>> '{work,megapixels}')::float8"  # shared.pipeline.work estimated them at acceptance

ACTIVE = f"""
    SELECT id, state, runs_on, pace, resumed_at, {_MEGAPIXELS} AS megapixels FROM kinora_tasks
    WHERE service = %s AND kind = %s AND state IN ('queued', 'running') ORDER BY job_id
"""  # noqa: S608  # a constant of ours

USUAL = f"""
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds / nullif(megapixels, 0)) AS seconds_a_megapixel
    FROM (
        SELECT extract(epoch FROM finished_at - resumed_at)::float8 AS seconds, {_MEGAPIXELS} AS megapixels
        FROM kinora_tasks
        WHERE service = %s AND kind = %s AND state = 'succeeded' ORDER BY created_at DESC LIMIT %s
    ) recent
"""  # noqa: S608  # a constant of ours


@dataclass(frozen=True)
class Usual:
    """The medians of recent runs; None before the first."""

    seconds: float | None = None
    seconds_a_megapixel: float | None = None

    def of(self, megapixels: float | None) -> float | None:
        """Return how long a task of that much work takes, or any task where the work is not known."""
        if megapixels is None or self.seconds_a_megapixel is None:
            return self.seconds
        return megapixels * self.seconds_a_megapixel


@dataclass(frozen=True)
class ActiveTask:
    """What is needed of a waiting or running row."""

    id: UUID
    state: str
    runs_on: str | None
    pace: float
    resumed_at: datetime | None
    megapixels: float | None

    def remaining(self, usual: Usual, now: datetime) -> float | None:
        """Return the seconds that a running task still needs: by its own pace, else as usual; None if unknown."""
        elapsed = (now - self.resumed_at).total_seconds() if self.resumed_at else 0.0
        expected = usual.of(self.megapixels)
        if self.pace <= TELLING_PACE and expected is not None and expected > elapsed:
            return expected - elapsed
        return elapsed * (1 - self.pace) / self.pace if self.pace > 0 else None


class QueueEstimate:
    """Positions and times of the active tasks of one kind. Each version has a queue and runners of its own."""

    def __init__(self, tasks: list[ActiveTask], usual: Usual, now: datetime) -> None:
        self._positions: dict[UUID, int] = {}
        self._seconds: dict[UUID, float | None] = {}
        running = [task for task in tasks if task.state == "running"]
        runners = Counter(task.runs_on for task in running)
        ahead: dict[str | None, float | None] = dict.fromkeys({task.runs_on for task in tasks}, 0.0)
        places: Counter[str | None] = Counter()
        for task in running:
            rest = self._seconds[task.id] = task.remaining(usual, now)
            ahead[task.runs_on] = _sum(ahead[task.runs_on], rest)
        for task in tasks:
            if task.state == "queued":
                places[task.runs_on] += 1
                self._positions[task.id] = places[task.runs_on]
                until_done = ahead[task.runs_on] = _sum(ahead[task.runs_on], usual.of(task.megapixels))
                self._seconds[task.id] = None if until_done is None else until_done / max(1, runners[task.runs_on])

    @classmethod
    async def read(cls, connection: Connection, service: ServiceName, kind: TaskKind) -> "QueueEstimate":
        """Read what is active now, and what was usual lately."""
        active: list[dict[str, Any]] = await (await connection.execute(ACTIVE, (service, kind))).fetchall()
        usual = await (await connection.execute(USUAL, (service, kind, SAMPLE))).fetchone()
        return cls([ActiveTask(**task) for task in active], Usual(**usual or {}), datetime.now(UTC))

    def position(self, task: UUID) -> int | None:
        """1 is the next to run; None for a task that does not wait."""
        return self._positions.get(task)

    def eta_seconds(self, task: UUID) -> float | None:
        """Return when an active task will be done, from rates that were measured; None when there are none yet."""
        return self._seconds.get(task)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
