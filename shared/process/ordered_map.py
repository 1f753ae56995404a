"""Several frames at a time, each in a thread of its own, and their results in order.

Two threads that share one frame wait for each other after every layer: where another program takes one of two cores,
both run at half speed or less. Threads that share nothing lose only what is taken from them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], threads: int, prepare: Callable[[], object] = lambda: None
) -> Iterator[R]:
    """Yield `function(item)` for every item, in their order.

    `function` runs in `threads` threads, each of which calls `prepare` first; `items` is advanced in the caller's, and
    is at most `threads` + 1 ahead of what was yielded: memory does not grow with its length. An exception of `function`
    comes in its item's place, one of `items` at once; after either, and when the iterator is closed, what is running is
    waited for and nothing else begins. One thread is the caller's own, without `prepare`.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="frame", initializer=prepare) as pool:
        under_way: deque[Future[R]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(copy_context().run, function, item))
                if len(under_way) > threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in reversed(under_way):  # or a thread would skip one and begin the next, which may wait for it
                future.cancel()
