"""A bounded queue between two threads that either end can close."""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Generic, TypeVar

from shared.tracing.stages import stage, staged, waiting

T = TypeVar("T")
R = TypeVar("R")

_MOST_PICTURES = 4
_MOST_BYTES = 256 << 20


def depth_for(width: int, height: int) -> int:
    """How many pictures of a size may wait in a queue: a few, and fewer if they are very large."""
    return max(1, min(_MOST_PICTURES, _MOST_BYTES // (width * height * 3)))


class Channel(Generic[T]):
    """Carries items from one thread to another, `depth` at a time.

    Unlike `queue.Queue` both ends can close it: `finish` says that nothing more comes, with the sender's failure if it
    had one, and `close` makes every waiting and later `put` return False, so that no thread waits
    for one that has ended.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether the receiver closed the queue."""
        return self._closed

    def put(self, item: T) -> bool:
        """Wait for room and append; False if the receiver closed the queue."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def finish(self, failure: BaseException | None = None) -> None:
        """Say that no more items come; the receiver gets the queued ones first, then `failure` is raised there."""
        with self._changed:
            self._finished = True
            self._failure = failure
            self._changed.notify_all()

    def close(self) -> None:
        """Close the queue: drop the queued items, and let `put` return False."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> "Channel[T]":
        return self

    def __next__(self) -> T:
        with self._changed:
            if not (self._closed or self._finished or self._items):
                with waiting():
                    self._changed.wait_for(lambda: self._closed or self._finished or self._items)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._failure is not None:
                raise self._failure
            raise StopIteration


class Handover(Generic[R]):
    """A thread that has been given all its items and may still be at work on the last ones."""

    def __init__(self, thread: threading.Thread, outcome: "Future[R]") -> None:
        self._thread = thread
        self._outcome = outcome

    def result(self) -> R:
        """Wait for the thread; return what its work returned, or raise what it raised."""
        self._thread.join()
        return self._outcome.result()


def hand_over(items: Iterable[T], work: Callable[[Channel[T]], R], depth: int) -> Handover[R]:
    """Give `items` to `work` in a thread of its own while the next ones are made; return when it has all of them.

    A failure in `items` ends the thread and comes through unchanged. If `work` fails no more items are made.
    """
    channel: Channel[T] = Channel(depth)
    outcome: Future[R] = Future()

    def run() -> None:
        try:
            with stage("encode"):
                result = work(channel)
            outcome.set_result(result)
        except BaseException as failure:  # noqa: BLE001  # raised again by `result` in the calling thread
            outcome.set_exception(failure)
        finally:
            channel.close()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="encode", daemon=True)
    thread.start()
    try:
        for item in staged("model", items):
            if not channel.put(item):
                break  # the work failed; `result` says why
        channel.finish()
    except BaseException:
        channel.close()
        thread.join()
        raise
    return Handover(thread, outcome)
