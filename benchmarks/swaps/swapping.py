"""Replace a service's only instance again and again while callers post, each time in the middle of a task."""

import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.load import Task
from benchmarks.chaos.witnesses import decodes
from benchmarks.clips import write_clip
from benchmarks.swaps.fleet import QUICK, UPSCALE, Fleet
from benchmarks.swaps.gateways import Haproxy, Nginx, Version
from benchmarks.swaps.load import Callers
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack, free_port

SIZE = (48, 32)
FRAMES = 24
WAITING = 6  # accepted tasks whose callback has not arrived: enough that every swap interrupts one
DRAIN_SECONDS = (600, 600, 0)  # every third instance requeues its task instead of finishing it
PATIENCE_SECONDS = 120.0
PROMISES = ("refused", "lost", "undelivered", "delivered_twice", "torn_files", "left_badly")


@dataclass
class Swaps:
    """The outcome of a run."""

    swaps: int
    accepted: int
    mid_task: int  # instances that had a task running when they got SIGTERM
    requeued: int  # tasks that needed a second attempt, since their instance had no time to finish them
    slowest_seconds: float  # of all submissions
    findings: dict[str, list[str]] = field(default_factory=lambda: {promise: [] for promise in PROMISES})

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.findings.values())

    def line(self) -> str:
        """Return all of it as one line."""
        counts = " ".join(f"{promise}={len(self.findings[promise])}" for promise in PROMISES)
        return (
            f"swaps={self.swaps} mid_task={self.mid_task} accepted={self.accepted} {counts}"
            f" requeued={self.requeued} slowest_submission={self.slowest_seconds:.1f}s"
        )


def swap_under_load(home: Path, swaps: int, *, quick: bool, gateways: bool) -> Swaps:
    """Swap `swaps` times. Callers post through the router and, if asked to, through nginx and HAProxy in turn.

    `quick` tasks take time but almost no processor time; the others are real ones, on the CPU.
    """
    stopping = threading.Event()
    drain_seconds = itertools.cycle(DRAIN_SECONDS)
    # What uses almost no processor time keeps its priority, as on a GPU.
    settings = {"device": "cuda" if quick else "cpu", "upscale_model": "animevideov3"}
    with ExitStack() as world:
        receiver = world.enter_context(Receiver())
        fleet = world.enter_context(Fleet(home / "fleet", receiver, settings, target=QUICK if quick else UPSCALE))
        world.callback(stopping.set)
        clip, out = write_clip(fleet.media / "in.mp4", size=SIZE, frames=FRAMES), fleet.media / "out"
        ports = free_port(), free_port()
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        router = fleet.router(upscale_url=f"{urls[0]}=50,{urls[1]}=50")
        current = fleet.instance("0", port=ports[0], drain_seconds=next(drain_seconds))
        current.wait_ready()
        router.wait_ready()
        doors, haproxy = [router.url], None
        if gateways:
            versions = [Version(url.removeprefix("http://"), 50) for url in urls]
            address = router.url.removeprefix("http://")
            nginx = world.enter_context(Nginx(home / "nginx", versions, address))
            haproxy = world.enter_context(Haproxy(home / "haproxy", versions, address))
            doors += [nginx.url, haproxy.url]

        def pace(_task_id: int) -> None:
            while callers.posted - len(answered(receiver)) >= WAITING and not stopping.is_set():
                time.sleep(0.02)

        callers = Callers(doors, clip, out, until(stopping), ratio=2 if quick else 1, before=pace)
        callers.start()
        result = Swaps(swaps, 0, 0, 0, 0.0)
        for number in range(1, swaps + 1):
            following = fleet.instance(str(number), port=ports[number % 2], drain_seconds=next(drain_seconds))
            following.wait_ready()
            if haproxy:
                wait_until_up(haproxy, ("stable", "canary")[number % 2])
            result.mid_task += wait_until_busy(current)
            status = current.stop(PATIENCE_SECONDS)
            if status != 0 or current.processes():
                result.findings["left_badly"].append(f"instance {number - 1}: {status}, {current.processes()}")
            current = following
        stopping.set()
        told = callers.join()
        result.accepted, result.slowest_seconds = len(told.accepted), told.slowest_seconds
        result.findings["refused"] = told.refused
        wait_until_all_ended(fleet, receiver, len(told.accepted))
        judge(result, fleet, receiver, told.accepted, out)
        return result


def until(stopping: threading.Event) -> Iterator[int]:
    """Count from 1 until told to stop."""
    return itertools.takewhile(lambda _number: not stopping.is_set(), itertools.count(1))


def answered(receiver: Receiver) -> set[int]:
    """Return the tasks whose callback has arrived."""
    return {delivery.payload["task_id"] for delivery in receiver.deliveries}


def wait_until_up(haproxy: Haproxy, server: str) -> None:
    """Wait for HAProxy's own check: an operator would not stop the last server that HAProxy knows to be up either."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not haproxy.up(server) and time.monotonic() < deadline:
        time.sleep(0.1)


def wait_until_busy(instance: Stack) -> bool:
    """Return once the instance's runner has begun a task that it has not ended; False if that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        log = instance.log.read_text(errors="replace")
        begun = re.findall(r"task (\d+): attempt \d+ begins", log)
        if begun and not re.search(rf"task {begun[-1]}: (succeeded|failed|cancelled|requeued)", log):
            return True
        time.sleep(0.02)
    return False


def wait_until_all_ended(fleet: Fleet, receiver: Receiver, accepted: int) -> None:
    """Wait until every task has ended and every callback has arrived, or until the time limit."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        open_tasks = fleet.sql("SELECT 1 FROM kinora_tasks WHERE state IN ('queued', 'running')")
        if not open_tasks and len(answered(receiver)) >= accepted:
            return
        time.sleep(0.2)


def judge(result: Swaps, fleet: Fleet, receiver: Receiver, accepted: list[int], out: Path) -> None:
    """Compare the answers that callers got with the rows, the callbacks and the files."""
    rows = {row["task_id"]: row for row in fleet.sql("SELECT task_id, state, attempt FROM kinora_tasks")}
    told = Counter(delivery.payload["task_id"] for delivery in receiver.deliveries)
    announced = {delivery.payload["video_url"]: delivery.payload["task_id"] for delivery in receiver.deliveries}
    expected = Task({}, FRAMES, *SIZE)
    found = result.findings
    for task_id in accepted:
        state = rows[task_id]["state"] if task_id in rows else "unknown"
        if state != "succeeded":
            found["lost"].append(f"task {task_id} is {state}")
        if told[task_id] != 1:
            found["undelivered" if told[task_id] == 0 else "delivered_twice"].append(f"task {task_id}: {told[task_id]}")
    files = {path.name for path in out.iterdir()}
    found["lost"] += [f"{name} is not there" for name in announced.keys() - files]
    found["torn_files"] += [f"{name} belongs to no callback" for name in files - announced.keys()]
    found["torn_files"] += [f"{name} is torn" for name in files & announced.keys() if not decodes(out / name, expected)]
    result.requeued = sum(row["attempt"] > 1 for row in rows.values())
