"""How a pipeline learns that it must stop, and why."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeVar

from shared.pipeline.job import JobStopped

T = TypeVar("T")

STOP_SECONDS = 0.2  # how soon what waits in the event loop sees that its task must stop

StopReason = Literal["cancelled", "out_of_time", "draining", "fenced"]


class CancellationToken:
    """Cancelled at most once; the pipeline sees it at its next check.

    `reason` and the time are written before the event is set and never after, and threads read them only once they have
    seen the event: they never see one without the other.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._cancelled_at = 0.0
        self._cancelled = threading.Event()
        self._winding_down = threading.Event()
        self._lock = threading.Lock()

    def cancel(self, reason: StopReason) -> None:
        """Ask the pipeline to stop; the first reason counts."""
        with self._lock:
            if not self._cancelled.is_set():
                self.reason = reason
                self._cancelled_at = time.monotonic()
                self._cancelled.set()

    def wind_down(self) -> None:
        """Ask the pipeline to stop where nothing gets lost: between two segments."""
        self._winding_down.set()

    def check_between_segments(self) -> None:
        """Raise JobStopped once cancelled, or asked to wind down, which is then why it stops."""
        if self._winding_down.is_set():
            self.cancel("draining")
        self.check()

    def overdue(self, grace_seconds: float) -> bool:
        """Whether the pipeline has not stopped for so long after it was asked to."""
        return self._cancelled.is_set() and time.monotonic() - self._cancelled_at > grace_seconds

    def check(self) -> None:
        """Raise JobStopped once cancelled."""
        if self._cancelled.is_set():
            raise JobStopped(self.reason)


async def until_stopped(work: Coroutine[Any, Any, T], check: Callable[[], None]) -> T:
    """Return what the work returns; cancel it as soon as `check` raises, and raise that."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=STOP_SECONDS))[0]:
            check()
    except BaseException:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        raise
    return task.result()
