"""A bounded queue between two threads that either end can close."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

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
            self._changed.wait_for(lambda: self._closed or self._finished or self._items)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._failure is not None:
                raise self._failure
            raise StopIteration
