"""What an engine remembers of a video from one range of its frames to the next."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Image
from shared.pipeline.state_bytes import from_bytes, to_bytes

T = TypeVar("T")

_VERSION = 1


class Memory:
    """Numbers and arrays under names: each step of an engine keeps its own there, and has no other state.

    What one attempt remembers at the end of a range is what any other would, to the last bit.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def begin(self, state: bytes | None) -> None:
        """Go on from where `state` was returned; None: at the beginning of the video."""
        version, self._values = from_bytes(state, ()) if state else (_VERSION, {})
        if version != _VERSION:
            raise ValueError(f"memory of version {version}, this is {_VERSION}")

    def state(self) -> bytes:
        """Return all that is remembered."""
        return to_bytes((_VERSION, self._values))

    def keep(self, name: str, value: float | NDArray[Any]) -> None:
        """Remember a number or an array, which must not be changed afterwards."""
        self._values[name] = value

    def number(self, name: str, default: float) -> float:
        """Return a number that was kept."""
        value: float = self._values.get(name, default)
        return value

    def count(self, name: str) -> int:
        """Return a whole number that was kept, 0 without one."""
        return int(self._values.get(name, 0))

    def array(self, name: str) -> NDArray[Any] | None:
        """Return an array that was kept."""
        return self._values.get(name)

    def keep_pictures(self, name: str, pictures: Iterable[Image]) -> None:
        """Remember pictures of one size, however many."""
        kept = list(pictures)
        self._values[name] = np.stack(kept) if kept else None

    def pictures(self, name: str) -> list[Image]:
        """Return the pictures that were kept."""
        kept = self._values.get(name)
        return [] if kept is None else list(kept)

    def numbered(self, name: str, items: Iterable[T]) -> Iterator[tuple[int, T]]:
        """Yield items with their numbers in the whole video, from 0 on."""
        for index, item in enumerate(items, start=self.count(name)):
            self.keep(name, index + 1)
            yield index, item
