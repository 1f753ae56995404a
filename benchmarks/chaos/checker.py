"""Check a recorded history against what the project promises. Pure: the same history gives the same verdict."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.chaos.history import TERMINAL, History, Transition

PROMISES = ("lost", "undelivered", "overlaps", "torn_files")
CRASH_LIMIT = 3  # a job that killed its runner so often is failed on purpose, with its callback


@dataclass(frozen=True)
class Run:
    """One attempt of a task, from its start to the next change of its row (None: it never ended)."""

    slot: str
    task_id: int
    attempt: int
    begin: float
    end: float | None


@dataclass(frozen=True)
class Verdict:
    """The summary in one line, and every finding."""

    kills: int
    accepted: int
    findings: dict[str, list[str]]  # promise -> sentences
    run_twice: int
    repeated_segments: int = 0

    @property
    def kept(self) -> bool:
        """Whether every promise was kept; a kill may cost one segment."""
        return not any(self.findings.values()) and self.repeated_segments <= self.kills

    def line(self) -> str:
        """Return the verdict as the one line that is kept beside the other results."""
        counts = " ".join(f"{promise}={len(self.findings[promise])}" for promise in PROMISES)
        return (
            f"kills={self.kills} accepted={self.accepted} {counts} run_twice={self.run_twice}"
            f" repeated_segments={self.repeated_segments}"
        )


def check(history: History) -> Verdict:
    """Compare what was promised with what was recorded."""
    runs = list(intervals(history.transitions))
    attempts = Counter(run.task_id for run in runs)
    findings = {
        "lost": [*lost(history), *ended_wrongly(history, attempts), *ended_again(history)],
        "undelivered": list(undelivered(history)),
        "overlaps": [*overlapping(runs), *writing_together(history), *contradictions(history)],
        "torn_files": list(torn(history)),
    }
    accepted = {accepted.task_id for accepted in history.accepted}
    return Verdict(
        len(history.kills),
        len(accepted),
        findings,
        run_twice=sum(count > 1 for count in attempts.values()),
        repeated_segments=sum(task.repeated_segments for task in history.tasks),
    )


def lost(history: History) -> Iterator[str]:
    """Yield accepted tasks that the router does not know, and known ones that did not end."""
    known = {task.task_id for task in history.tasks}
    for task_id in sorted({accepted.task_id for accepted in history.accepted} - known):
        yield f"task {task_id} was accepted and is unknown"
    for task in history.tasks:
        if task.state not in TERMINAL:
            yield f"task {task.task_id} is still {task.state}"


def ended_wrongly(history: History, attempts: dict[int, int]) -> Iterator[str]:
    """Yield tasks that failed although the work can be done, and successes without their file."""
    names = {file.name for file in history.files}
    for task in history.tasks:
        count = attempts.get(task.task_id, 0)
        if task.state in TERMINAL - {"succeeded"} and count < CRASH_LIMIT:
            yield f"task {task.task_id} ended as {task.state} after {count} runs: {(task.result or {}).get('err_msg')}"
        elif task.state == "succeeded" and (task.result or {}).get("video_url") not in names:
            yield f"task {task.task_id} succeeded and its file is missing"


def ended_again(history: History) -> Iterator[str]:
    """Yield tasks that reached an end more than once."""
    ends = Counter((change.row, change.task_id) for change in history.transitions if change.state in TERMINAL)
    yield from (f"task {task_id} ended {count} times" for (_row, task_id), count in ends.items() if count > 1)


def undelivered(history: History) -> Iterator[str]:
    """Yield ended tasks whose stored result no receiver acknowledged."""
    heard = [delivery.body for delivery in history.delivered if delivery.acknowledged]
    for task in history.tasks:
        if task.state in TERMINAL and task.result not in heard:
            yield f"task {task.task_id} ended as {task.state} and its callback ({task.callback}) was never acknowledged"


def intervals(transitions: Iterable[Transition]) -> Iterator[Run]:
    """Turn the changes of each row into runs: from `running` to the row's next change."""
    rows: dict[str, list[Transition]] = defaultdict(list)
    for transition in sorted(transitions, key=lambda transition: transition.at):
        rows[transition.row].append(transition)
    for changes in rows.values():
        for change, after in pairwise([*changes, None]):
            if change is not None and change.state == "running":
                yield Run(change.slot, change.task_id, change.attempt, change.at, after.at if after else None)


def overlapping(runs: Iterable[Run]) -> Iterator[str]:
    """Yield pairs of runs of one slot that were running at the same time."""
    latest: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: run.begin):
        before = latest.get(run.slot)
        if before and (before.end is None or before.end > run.begin):
            yield f"{run.slot}: task {run.task_id} began while task {before.task_id} was running"
        if not before or before.end is not None:
            latest[run.slot] = run


def writing_together(history: History) -> Iterator[str]:
    """Yield each pair of processes that held unpublished results at the same instant, once."""
    pairs = {tuple(sorted(sample.holders)): sample for sample in history.writers if len(sample.holders) > 1}
    for holders, sample in pairs.items():
        yield f"processes {', '.join(holders)} were writing at the same time: {sorted(sample.holders.values())}"


def contradictions(history: History) -> Iterator[str]:
    """Yield idempotency keys under which different bodies were delivered, and deliveries without a key."""
    bodies: dict[str, list[object]] = defaultdict(list)
    for delivery in history.delivered:
        if delivery.body not in bodies[delivery.key]:
            bodies[delivery.key].append(delivery.body)
    for key, different in bodies.items():
        if not key:
            yield f"{len(different)} callbacks carried no idempotency key"
        elif len(different) > 1:
            yield f"{len(different)} different callbacks under the key {key}"


def torn(history: History) -> Iterator[str]:
    """Yield files that a reader could have seen incomplete, and files that no callback names."""
    announced = {task.result["video_url"] for task in history.tasks if task.result}
    for file in history.files:
        if file.name.startswith("."):
            yield f"{file.name}: a temporary file was left behind"
        elif not file.whole:
            yield f"{file.name}: does not hold what it must"
        elif file.grew:
            yield f"{file.name}: changed after it was published"
        elif file.name not in announced:
            yield f"{file.name}: no callback announces it"
