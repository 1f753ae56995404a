"""A video at exactly the wanted frame rate, whatever its own is: every picture at its own instant.

The instants are k/rate seconds after the first frame, as fractions: they never drift. One that lies on a frame of the
source, or beside it by no more than rounding, shows that frame; any other is interpolated between its neighbours, also
where the source has more frames than are wanted.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import lcm

from services.interpo.filling import Shown, Span, filled
from services.interpo.pairs import Interpolate, pairs_of
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange

_ROUNDING_SECONDS = Fraction(1, 1000)  # containers that count milliseconds are this far beside a constant rate
_ROUNDING_SHARE = 32  # and no more than this part of the time between two frames counts as rounding
_HELD_SECONDS = Fraction(1, 2)  # a frame that is shown for longer, and for two of its video's usual ones, stands still


class Grid:
    """The instants of the wanted rate beside the frames of a source, all whole numbers of `time_base`."""

    def __init__(self, frame_rate: Fraction, source_rate: Fraction, source_unit: Fraction, origin: int = 0) -> None:
        """`origin` is the pts of the source's first frame, the first instant of all."""
        self.frame_rate = frame_rate
        self.time_base = Fraction(1, lcm(source_unit.denominator, frame_rate.numerator))
        self.step = int(1 / frame_rate / self.time_base)
        self._unit = int(source_unit / self.time_base)
        self._rounding = int(_ROUNDING_SECONDS / self.time_base)
        self._longest = max(_HELD_SECONDS, 2 / source_rate) / self.time_base
        self._origin = origin * self._unit
        self._next: int | None = (
            None  # the first instant that was not returned yet; None before the first range's first
        )

    def span(self, frame: Frame) -> tuple[int, int]:
        """Return when a frame of the source begins and ends."""
        return frame.pts * self._unit, (frame.pts + frame.duration) * self._unit

    def until(self, begin: int, end: int) -> list[int]:
        """Return the instants before `end` that were not returned yet, from the first one at or behind `begin`."""
        first = self._origin - (self._origin - begin) // self.step * self.step if self._next is None else self._next
        instants = list(range(first, end, self.step))
        self._next = first + len(instants) * self.step
        return instants

    def rest(self, begin: int, end: int) -> list[int]:
        """Return the instants of the last frame, so that all last as long as the source to within half of one."""
        is_only = self._next is None and begin == self._origin
        return self.until(begin, end - self.step // 2) or ([begin] if is_only else [])

    def is_held(self, begin: int, end: int) -> bool:
        """Whether the frame at `begin` is shown for so long that it does not move towards the one at `end`."""
        return end - begin > self._longest

    def position(self, instant: int, begin: int, end: int) -> Fraction:
        """Return where an instant lies between two frames, 0 to 1; exactly 0 or 1 where it shows one of them."""
        near = min(self._rounding, (end - begin) // _ROUNDING_SHARE)
        if instant - begin <= near:
            return Fraction(0)
        return Fraction(1) if end - instant <= near else Fraction(instant - begin, end - begin)


def resampled(
    frames: FrameRange,
    grid: Grid,
    model: Interpolate,
    pairs: "Counter[str]",
    *,
    at_once: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Frame]:
    """Yield the frames at the grid's instants up to the frame behind the range; the rest is as for `filled`.

    Across a cut, and where a frame is held for long, the earlier frame is shown until the later one's time.
    """
    yield from filled(_spans(frames, grid), model, pairs, at_once=at_once, check=check)
    last = frames.latest
    if last is not None and frames.following is None:
        begin, end = grid.span(last)
        for instant in grid.rest(begin, end):
            yield Frame(last.image, instant, grid.step)


def _spans(frames: FrameRange, grid: Grid) -> Iterator[Span]:
    for pair in pairs_of(frames):
        begin, end = grid.span(pair.earlier)[0], grid.span(pair.later)[0]
        is_held = pair.kind == "moving" and grid.is_held(begin, end)
        instants = [Shown(grid.position(at, begin, end), at, grid.step) for at in grid.until(begin, end)]
        yield Span(replace(pair, kind="held") if is_held else pair, instants)
