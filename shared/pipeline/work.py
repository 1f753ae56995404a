"""How much a task computes: estimated from its video's header, counted while it runs, limited by a setting.

The unit is a megapixel that a network computes or that is written. docs/operations.md has the arithmetic.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from shared.errors import JobFailed, Rejected
from shared.settings import LimitSettings

T = TypeVar("T")

SMALLEST_FRAME = 256 * 256  # pixels: a smaller one costs as much, being decoded, passed on and encoded all the same
_MEGA = 1_000_000


@dataclass(frozen=True)
class Work:
    """What one frame of a source becomes: `frames` of `pixels` each. `remembered` is how many bytes the pipeline keeps
    from one segment of a video to the next, about.
    """

    frames: int | Fraction
    pixels: int
    remembered: int = 0

    def megapixels(self, source_frames: int) -> float:
        """Return the work of so many frames of the source."""
        return float(source_frames * self.frames) * max(self.pixels, SMALLEST_FRAME) / _MEGA

    def estimate(self, source_frames: int | None) -> dict[str, float | None]:
        """Return the figures of the task list, None where the container does not tell how many frames it has."""
        if source_frames is None:
            return {"frames": None, "megapixels": None}
        return {"frames": round(source_frames * self.frames), "megapixels": round(self.megapixels(source_frames), 1)}

    def check(self, source_frames: int, *, name: str, limits: LimitSettings) -> None:
        """Raise Rejected, with the figure, where the file `name` is more work than the settings allow."""
        if self.megapixels(source_frames) > limits.max_task_megapixels:
            raise Rejected("too_much_work", **self._facts(source_frames, name, limits.max_task_megapixels))

    def limited(self, frames: Iterable[T], before: int = 0, *, name: str, limits: LimitSettings) -> Iterator[T]:
        """Pass a source's frames on and count them: containers may tell no number of frames, or a wrong one.

        `before` of them came earlier.

        Raises JobFailed, with the same sentence as `check`, at the frame that goes beyond the limit.
        """
        limit = limits.max_task_megapixels
        for count, frame in enumerate(frames, start=before + 1):
            if self.megapixels(count) > limit:
                raise JobFailed("too_much_work", **self._facts(count, name, limit))
            yield frame

    def _facts(self, source_frames: int, name: str, limit: float) -> dict[str, str]:
        megapixels = self.megapixels(source_frames)
        return {"name": name, "megapixels": _readable(megapixels), "limit": _readable(limit)}


WorkOf = Callable[[int, int, Fraction | None], Work]  # a video's width, height in pixels and frame rate, if told


def _readable(megapixels: float) -> str:
    return f"{megapixels:,.0f}" if megapixels >= 10 else f"{megapixels:.3g}"  # noqa: PLR2004  # two digits say enough
