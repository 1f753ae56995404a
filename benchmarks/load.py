"""Load: accepting and starting beside a long queue and many runners, listing a million tasks, a backend's return."""

import asyncio
import statistics
import tempfile
from pathlib import Path

from benchmarks.load_runs import Bench, QueueTimes, bench
from benchmarks.report import Report, percentile
from shared.testing.stack import free_port

WAITING = (10, 100, 1_000, 10_000)  # with two runners
RUNNERS = (1, 4, 16, 64)  # with a hundred waiting tasks
FEW_RUNNERS, FEW_WAITING = 2, 100
ROWS = 1_000_000
CALLBACKS = 1_000
AWAY_SECONDS = 60.0  # of the backend, from the end of the last task


def measure() -> Report:
    """Measure everything on one database, one thing after the other."""
    port = free_port()

    async def run(home: Path) -> Report:
        async with bench(home, port) as database:
            return await _measured(database, port)

    with tempfile.TemporaryDirectory(prefix="kinora-load-", ignore_cleanup_errors=True) as folder:
        return asyncio.run(run(Path(folder)))


async def _measured(database: Bench, port: int) -> Report:
    queues = [await database.queue_times(count, FEW_RUNNERS) for count in WAITING]
    queues += [await database.queue_times(FEW_WAITING, count) for count in RUNNERS]
    back, tried = await database.recovery_seconds(CALLBACKS, port, AWAY_SECONDS)
    lists = await database.list_times(ROWS)
    table = [_row(times) for times in queues]
    for limit, times in lists.items():
        table.append([f"list of {limit}, {ROWS:,} rows", f"{_two(times)} ms", "", "50 ms"])
    table.append([f"{CALLBACKS:,} callbacks after the backend's return", f"{back:.1f} s", "", "60 s"])
    figures = {
        "queues": [vars(times) | {"accept": _two(times.accept)} for times in queues],
        "lists_ms": {str(limit): _two(times) for limit, times in lists.items()},
        "callbacks": {"count": CALLBACKS, "seconds": back, "tries_before": tried, "away_seconds": AWAY_SECONDS},
    }
    notes = (
        "Each runner is a process; their models sleep, and together end six tasks a second.",
        "Between two tasks: what a runner loses from the end of one to the begin of the next, storing both included.",
        f"While the backend was away, {tried:,} tries were made in {AWAY_SECONDS:g} s.",
    )
    columns = ("what", "accept, or the figure: p50 / p99", "between two tasks", "goal")
    return Report("load", "Many tasks, many runners, many rows", columns, table, figures, notes)


def _row(times: QueueTimes) -> list[str]:
    what = f"{times.waiting:,} waiting, {times.runners} runner{'s' if times.runners > 1 else ''}"
    return [what, f"{_two(times.accept)} ms", f"{times.turnaround:.0f} ms", ""]


def _two(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} / {percentile(values, 99):.0f}"
