"""The stages of a pipeline as spans: what decoding, the model and encoding took, though they run side by side.

A stage lasts from its first item to its last one. How long it worked in that time is its `kinora.busy_seconds`: without
what it waited for another thread, and without the stages from which it takes its items in its own thread.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from shared.tracing.span import Span, current

T = TypeVar("T")


class _Clock:
    """Counts how long a stage works, in one thread at a time."""

    def __init__(self) -> None:
        self.busy = 0.0
        self.items = 0
        self.thread = 0


_running: ContextVar[_Clock | None] = ContextVar("stage", default=None)


def _outer() -> _Clock | None:
    """Return the clock that runs in this thread; a new one begins with a copy of the context that started it."""
    clock = _running.get()
    return clock if clock is not None and clock.thread == threading.get_ident() else None


@contextmanager
def _working(clock: _Clock) -> Iterator[None]:
    outer = _outer()
    clock.thread = threading.get_ident()
    token = _running.set(clock)
    begun = time.perf_counter()
    try:
        yield
    finally:
        took = time.perf_counter() - begun
        clock.busy += took
        if outer is not None:
            outer.busy -= took
        _running.reset(token)


@contextmanager
def waiting() -> Iterator[None]:
    """Do not count the time of this block as work of the stage that waits here."""
    if _outer() is None:
        yield
        return
    with _working(_Clock()):
        yield


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Run the block as a stage of the current span."""
    if not (span := current()).recorded:
        yield
        return
    clock = _Clock()
    with span.begin(name).active() as begun:
        try:
            with _working(clock):
                yield
        finally:
            begun.note({"kinora.busy_seconds": round(clock.busy, 6)})


def staged(name: str, items: Iterable[T]) -> Iterable[T]:
    """Return the same items, made as a stage of the current span; without a trace it is `items` itself."""
    span = current()
    return _staged(span, name, items) if span.recorded else items


def _staged(span: Span, name: str, items: Iterable[T]) -> Iterator[T]:
    clock = _Clock()
    begun = span.begin(name)
    iterator = iter(items)
    try:
        while True:
            with _working(clock):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            clock.items += 1
            yield item
    except Exception as error:
        begun.fail(error)
        raise
    finally:
        begun.note({"kinora.busy_seconds": round(clock.busy, 6), "kinora.items": clock.items})
        begun.end()
