"""The load: small real tasks, posted by a client that repeats a request until it has an answer, as a backend does."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chaos.history import Accepted
from shared.testing.callback_receiver import Behaviour, ReceivedCallback, Receiver

WAITING = 8  # accepted tasks whose callback has not arrived: enough that every kill interrupts work
BAD_SHARE = 0.3
BAD_LIMIT = 2  # per idempotency key, so that the retry schedule (5 s, 30 s, 2 min …) ends within a minute
BAD: Sequence[Behaviour] = ("http 500", "err_code -1", "drop")
REPEAT_SHARE = 0.2  # of the tasks are posted a second time at once: they must still run once
RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """What was requested, and what the file must contain."""

    body: dict[str, Any]
    frames: int
    width: int
    height: int


class Moody:
    """A backend that refuses a share of the deliveries, each key at most twice."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._refused: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, delivery: ReceivedCallback) -> Behaviour:
        """Choose the answer to one delivery."""
        with self._lock:
            refused = self._refused.get(delivery.key, 0)
            if refused >= BAD_LIMIT or self._random.random() > BAD_SHARE:
                return "ok"
            self._refused[delivery.key] = refused + 1
            return self._random.choice(BAD)


class Load(threading.Thread):
    """Keeps `WAITING` tasks queued or running from `start` to `finish`."""

    def __init__(self, url: str, receiver: Receiver, clip: Path, out: Path, *, size: tuple[int, int], frames: int,
                 seed: int) -> None:  # fmt: skip
        super().__init__(name="load", daemon=True)
        self.accepted: list[Accepted] = []
        self.tasks: dict[int, Task] = {}
        self._url, self._receiver, self._clip, self._out = url, receiver, clip, out
        self._size, self._frames = size, frames
        self._random = random.Random(seed)
        self._finishing = threading.Event()

    def run(self) -> None:
        """Post one task after another."""
        task_id = 1000
        with httpx.Client(base_url=self._url, trust_env=False, timeout=15) as client:
            while not self._finishing.is_set():
                if len(self.tasks) - self._answered() >= WAITING:
                    self._finishing.wait(0.05)
                    continue
                task_id += 1
                self.tasks[task_id] = task = self._task(task_id)
                for _ in range(2 if self._random.random() < REPEAT_SHARE else 1):
                    self._post(client, task)

    def finish(self) -> None:
        """Stop posting new tasks; the current one is repeated until it is accepted."""
        self._finishing.set()
        self.join()

    def _answered(self) -> int:
        return len({d.payload.get("task_id") for d in self._receiver.deliveries if d.acknowledged})

    def _task(self, task_id: int) -> Task:
        ratio = self._random.randint(1, 4)
        folder = self._out / f"{task_id % 3}"
        body = {"task_id": task_id, "video_url": str(self._clip), "dist_dir": str(folder), "ratio": ratio}
        return Task(body, self._frames, self._size[0] * ratio, self._size[1] * ratio)

    def _post(self, client: httpx.Client, task: Task) -> None:
        while True:
            try:
                answer = client.post("/api/ai/upscale", json=task.body)
                if answer.status_code == httpx.codes.OK and answer.json()["err_code"] == 0:
                    self.accepted.append(Accepted(time.time(), task.body["task_id"]))
                    return
            except httpx.TransportError:
                pass  # no connection, or it broke before the answer: the task may be stored or not, so ask again
            time.sleep(RETRY_SECONDS)
