"""When the frames of the faster video are shown.

Times count in `source.time_base / rate`: there every instant between two frames of the source is a whole number, and
24000/1001 stays a fraction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from shared.media.frame import Frame

# A container that counts milliseconds rounds a constant rate to steps of 41 and 42. The steps stay uneven when the file
# is copied to a container that counts more finely.
_ROUNDED_SECONDS = Fraction(1, 1000)


@dataclass(frozen=True)
class Instant:
    """A time at which a frame is shown, and for how long, in units of `time_base / rate`."""

    pts: int
    duration: int


class Timeline:
    """Follows the source's frames and gives the times of the new frames between them."""

    def __init__(self, rate: int, frame_rate: Fraction, time_base: Fraction) -> None:
        self.rate = rate
        self.frame_rate = frame_rate * rate
        self.time_base = time_base / rate
        self._step = 1 / (frame_rate * time_base)  # of a constant frame rate, in units of the source
        self._jitter = 1 if time_base == _ROUNDED_SECONDS else _ROUNDED_SECONDS / time_base + 1
        self._is_constant = True

    def between(self, earlier: Frame, later: Frame) -> list[Instant]:
        """Divide the time from `earlier` to `later` evenly; the first instant is `earlier`'s own."""
        step = later.pts - earlier.pts
        self._is_constant = self._is_constant and abs(step - self._step) <= self._jitter
        return [Instant(earlier.pts * self.rate + place * step, step) for place in range(self.rate)]

    def after(self, last: Frame) -> Iterator[Instant]:
        """Return when the last frame is shown: `rate` times within its time at a constant rate, so that n frames become
        n·rate; once for all of its time at a variable one, where no rate has to be filled.
        """  # fmt: skip
        if not self._is_constant:
            yield Instant(last.pts * self.rate, last.duration * self.rate)
            return
        for place in range(self.rate):
            yield Instant(last.pts * self.rate + place * last.duration, last.duration)
