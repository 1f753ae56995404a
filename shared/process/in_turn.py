"""Several items at a time, each in one thread from its beginning to its end, parts of which follow the item before.

A thread that waits for its turn leaves its core to others, and as soon as the items are unevenly far no thread waits
any more: while one takes its turn, the others do what needs none. A chain of maps (`ordered_map`) with the turns
between them would have the turns in one thread, the one that takes the results, and an item waiting at each map.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar

from shared.process.ordered_map import ordered_map

T = TypeVar("T")
R = TypeVar("R")


class Place:
    """An item's place in the row of all items: the first turn of each comes after the first turns of all before it.

    So does the second after the second ones, and so on. An item may take more turns than another, or none.
    """

    def __init__(self, before: "Place | None" = None) -> None:
        self._before = None if before is None or before.is_past() else before
        self._changed = Condition()
        self._over = 0  # turns
        self._ended = self._failed = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until those before have had their turn of the same number or have ended; those after it wait until then.

        Raises CancelledError when one before it failed and will not have that turn.
        """
        if self._before is not None:
            self._before.wait(self._over + 1)
        yield
        with self._changed:
            self._over += 1
            self._changed.notify_all()

    def wait(self, turns: int) -> None:
        """Wait until so many turns of this item and of those before it are over, or there are no more.

        Raises CancelledError when one of them failed before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._over >= turns)
            if self._over >= turns:
                return  # so had those before
            if self._failed:
                raise CancelledError
            before = self._before
        if before is not None:
            before.wait(turns)

    def end(self, *, failed: bool = False) -> None:
        """Have no more turns."""
        with self._changed:
            self._ended, self._failed = True, failed
            self._changed.notify_all()

    def is_past(self) -> bool:
        """Whether this item and all before it have ended well; from then on it keeps none of them."""
        with self._changed:
            if self._before is not None and self._before.is_past():
                self._before = None
            return self._ended and not self._failed and self._before is None


def in_turn(function: Callable[[T, Place], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield `function(item, place)` for every item, in their order; otherwise as `ordered_map`.

    Within its `place.turn()`s `function` may use what the items before have left there.
    """

    def placed() -> Iterator[tuple[T, Place]]:
        before: Place | None = None
        for item in items:
            before = Place(before)
            yield item, before

    def made(item_and_place: tuple[T, Place]) -> R:
        item, place = item_and_place
        try:
            result = function(item, place)
        except BaseException:
            place.end(failed=True)
            raise
        place.end()
        return result

    return ordered_map(made, placed(), threads)
