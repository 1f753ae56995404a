"""Where a result is cut into segments: decided by the source and the request alone.

Never by who works, how fast or when it was killed: so every attempt, on whatever host, finds the same segments.
"""

from dataclasses import dataclass

from shared.media.decode import VideoSource

# What takes seconds on a GPU and some minutes on a CPU, in pixels of the result: about 4 s of 720p enlarged 4 times.
_MOST_PIXELS = 1_500_000_000
_SHORTEST_SECONDS = 2.0  # a key frame more often would cost more than two hundredths of the size


@dataclass(frozen=True)
class SegmentPlan:
    """Ranges of the source's time, all of the same `length` (in its time base) but the first, which is longer by
    `lead`, and the last, which is up to half longer and has no end. `count` is None where the source does not tell how
    long it is.
    """

    length: int
    count: int | None
    lead: int = 0

    @classmethod
    def of(cls, source: VideoSource, pixels: int, wanted_seconds: float) -> "SegmentPlan":
        """Plan segments of `wanted_seconds`, or shorter ones where a frame of the source becomes very many `pixels`."""
        by_work = _MOST_PIXELS / pixels / float(source.frame_rate)
        seconds = min(wanted_seconds, max(by_work, _SHORTEST_SECONDS))
        length = max(1, round(seconds / source.time_base))
        if not source.duration_seconds:
            return cls(length, None)
        return cls(length, max(1, round(source.duration_seconds / float(length * source.time_base))))

    def begin(self, number: int) -> int:
        """Return the pts from which a segment's frames are."""
        return self.lead + number * self.length if number else 0

    def end(self, number: int) -> int | None:
        """Return the pts before which a segment's frames are; None: to the end of the source."""
        return None if number + 1 == self.count else self.begin(number + 1)
