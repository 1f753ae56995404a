"""The service around the models: how quickly it starts, accepts and begins, and how much memory it uses while idle."""

import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.clips import write_clip
from benchmarks.report import Report, percentile, spread
from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

RATE = 20.0  # requests a second
REQUESTS = 300
STARTS = 3
WARM_STARTS = 10


def measure() -> Report:
    """Measure one whole stack with upscaling alone, then the start of all services."""
    with (
        tempfile.TemporaryDirectory(prefix="kinora-bench-", ignore_cleanup_errors=True) as folder,
        Receiver() as receiver,
    ):
        bench = Bench(Path(folder), receiver)
        starts = [bench.start_seconds() for _ in range(STARTS)]
        with bench.stack() as stack:
            time.sleep(5)  # what was only needed at the start has ended by then
            weight = bench.weight_by_part(stack)
            idle = bench.accepts(stack)
        with bench.stack() as stack:
            begin = bench.begin_seconds(stack)
            with bench.full_load(stack) as task_id:
                loaded = bench.accepts(stack)
                again = [bench.again_seconds(stack, task_id, attempt) for attempt in (2, 3)]
    figures = {
        "start_seconds": starts,
        "idle_pss_bytes": weight,
        "accept_idle_ms": summary(idle),
        "accept_loaded_ms": summary(loaded),
        "again_seconds": again,
        "begin_warm_ms": summary([seconds * 1000 for seconds in begin]),
    }
    rows = [
        ["`kinora serve` to ready, all services, empty state", spread(starts, 1) + " s", "10 s"],
        ["accept p50 / p99, idle, 20 a second through the router", latency(idle), ""],
        ["the same while the runner is at full load", latency(loaded), "15 / 50 ms"],
        ["accepted to begun, model warm, median", f"{statistics.median(begin) * 1000:.0f} ms", "300 ms"],
        ["runner killed with -9 to its task running again", spread(again, 1) + " s", "10 s"],
        ["idle memory (PSS), router, one service, runner, PostgreSQL", f"{sum(weight.values()) / 2**20:.0f} MiB", ""],
    ]
    return Report("service", "The service around the models", ("figure", "measured", "goal"), rows, figures)


class Bench:
    """What one measurement needs."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self._folder, self._receiver = folder, receiver
        self._media = folder / "media"
        self._small = write_clip(self._media / "small.mp4", size=(16, 16), frames=2)
        self._large = write_clip(self._media / "large.mp4", size=(320, 180), frames=2000)
        self._task_ids = itertools.count(1)
        self._states = itertools.count()

    @contextmanager
    def stack(self, services: str = "upscale") -> Iterator[Stack]:
        """Run a stack with a state of its own; its queue takes every request of the measurement."""
        environment = {"KINORA_SERVICES": services, "KINORA_MAX_QUEUED": "100000", "KINORA_DRAIN_SECONDS": "0"}
        state_dir = self._folder / f"state-{next(self._states)}"
        stack = Stack(state_dir, (self._media,), self._receiver.url, environment=environment)
        with stack.running(timeout_seconds=120):
            yield stack

    def start_seconds(self) -> float:
        """Return the time from `kinora serve` to the first 200 of `/readyz`."""
        begin = time.monotonic()
        with self.stack("creation,facefusion,interpo,upscale"):
            return time.monotonic() - begin

    def weight_by_part(self, stack: Stack) -> dict[str, int]:
        """Return the proportional set size of every process of the stack, bytes by pid and command."""
        return {f"{p.pid} {part(p)}": p.memory_full_info().pss for p in stack.processes()}

    def accepts(self, stack: Stack) -> list[float]:
        """Post `REQUESTS` tasks at `RATE`, each at its own due time, and return their latencies in milliseconds.

        A late answer does not delay the next request, so that a stall counts in full.
        """
        latencies: list[float] = []

        def post(client: httpx.Client) -> None:
            body = self._body(self._small)
            begin = time.perf_counter()
            answer = client.post("/api/ai/upscale", json=body).json()
            latencies.append((time.perf_counter() - begin) * 1000)
            if answer["err_code"] != 0:
                raise RuntimeError(answer["err_msg"])

        with stack.client() as client:
            post(client)  # the connection is there
            latencies.clear()
            begin, threads = time.monotonic(), []
            for number in range(REQUESTS):
                time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
                threads.append(threading.Thread(target=post, args=(client,)))
                threads[-1].start()
            for thread in threads:
                thread.join()
        return latencies

    def begin_seconds(self, stack: Stack) -> list[float]:
        """Return the times from acceptance to the begin of the run, on an idle machine with the model loaded."""
        found = []
        with stack.client() as client:
            for number in range(WARM_STARTS + 1):
                body = self._body(self._small)
                client.post("/api/ai/upscale", json=body)
                self._receiver.wait_for(body["task_id"], timeout_seconds=120)
                row = client.get(f"/api/ai/tasks/{body['task_id']}").json()["tasks"][0]
                if number:  # the first one loads the model
                    found.append(seconds_between(row["created_at"], row["started_at"]))
        return found

    @contextmanager
    def full_load(self, stack: Stack) -> Iterator[int]:
        """Keep the runner busy with a clip that takes longer than the measurement; yield its task's id."""
        body = self._body(self._large) | {"ratio": 4}
        with stack.client() as client:
            client.post("/api/ai/upscale", json=body)
            while client.get(f"/api/ai/tasks/{body['task_id']}").json()["tasks"][0]["progress"] == 0:
                time.sleep(0.2)
            yield body["task_id"]
            client.post(f"/api/ai/tasks/{body['task_id']}/cancel")

    def again_seconds(self, stack: Stack, task_id: int, attempt: int) -> float:
        """Kill the runner in the middle of its task and return the time until the task has begun its next attempt."""
        with stack.client() as client:
            runner = next(process for process in stack.processes() if part(process) == "runner")
            begin = time.monotonic()
            runner.kill()
            while client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]["attempt"] != attempt:
                time.sleep(0.02)
        return time.monotonic() - begin

    def _body(self, clip: Path) -> dict[str, Any]:
        dist_dir = str(self._media / "out")
        return {"task_id": next(self._task_ids), "video_url": str(clip), "dist_dir": dist_dir, "ratio": 1}


def part(process: psutil.Process) -> str:
    """Return which part of the stack a process is."""
    command = processes.command(process)
    marks = {
        "--service-name router": "router",
        "--service-name": "service",
        ".runner": "runner",
        "postgres": "postgres",
    }
    return next((name for mark, name in marks.items() if mark in command), "master or helper")


def seconds_between(begin: str, end: str) -> float:
    """Return the difference of two RFC 3339 instants."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def summary(values: list[float]) -> dict[str, float]:
    """Return what the JSON keeps of a series."""
    return {"p50": percentile(values, 50), "p99": percentile(values, 99), "max": max(values), "count": len(values)}


def latency(values: list[float]) -> str:
    """Return p50 and p99 for the table."""
    return f"{percentile(values, 50):.0f} / {percentile(values, 99):.0f} ms"
