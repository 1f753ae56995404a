"""The load: small real tasks from several callers at once, and the answers that they got."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

CALLERS = 8
PATH = "/api/ai/upscale"


@dataclass
class Told:
    """The answers that callers got: the tasks that were accepted, and every refusal, in the order of arrival."""

    accepted: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # "TASK_ID: STATUS BODY", or the error
    slowest_seconds: float = 0.0


class Callers:
    """Threads that post one task after another, each task through one of the `urls` in rotation, and only once."""

    def __init__(
        self,
        urls: Iterable[str],
        clip: Path,
        out: Path,
        task_ids: Iterator[int],
        *,
        ratio: int = 1,
        before: Callable[[int], object] = lambda _task_id: None,
    ) -> None:
        self.told = Told()
        self._urls = tuple(urls)
        self._body = {"video_url": str(clip), "dist_dir": str(out), "ratio": ratio}
        self._task_ids = task_ids
        self._before = before
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call, name=f"caller-{n}", daemon=True) for n in range(CALLERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def posted(self) -> int:
        """How many tasks have been answered so far."""
        return len(self.told.accepted) + len(self.told.refused)

    def join(self) -> Told:
        """Return all answers when the last task has been posted."""
        for thread in self._threads:
            thread.join()
        return self.told

    def _call(self) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while (task_id := self._next()) is not None:
                self._before(task_id)
                self._post(client, task_id)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._task_ids, None)

    def _post(self, client: httpx.Client, task_id: int) -> None:
        began = time.monotonic()
        refusal = ""
        try:
            answer = client.post(self._urls[task_id % len(self._urls)] + PATH, json=self._body | {"task_id": task_id})
            if answer.status_code != httpx.codes.OK or answer.json() != {"err_code": 0, "err_msg": ""}:
                refusal = f"{task_id}: {answer.status_code} {answer.text}"
        except httpx.TransportError as error:
            refusal = f"{task_id}: {error!r}"
        with self._lock:
            self.told.slowest_seconds = max(self.told.slowest_seconds, time.monotonic() - began)
            if refusal:
                self.told.refused.append(refusal)
            else:
                self.told.accepted.append(task_id)
