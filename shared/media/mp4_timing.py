"""The picture's times in MP4's terms, so that a reader gets exactly the times that were written.

MP4 stores for each sample the difference of decoding times to the next one, and a track lasts as long as these sum up
to. With reordered pictures that sum differs from the time for which they are shown; two corrections make them equal.
"""

from fractions import Fraction
from typing import Any

from av.packet import Packet

from shared.media.frame import Frame

_FINEST = 10_000_000  # ticks a second; a sample's duration has 32 bits
_DELAY_TICKS = 90_000  # a second, at least: a track's late start is told with an error of 6 microseconds at most


class Mp4Timing:
    """Turns frames' times into the encoder's ticks, and its packets' times into MP4's."""

    def __init__(self, time_base: Fraction, frame_rate: Fraction) -> None:
        self._time_base = time_base
        self.ticks = Fraction(1, min(time_base.denominator, _FINEST))  # MP4 counts whole parts of a second
        self.step = max(round(1 / (frame_rate * self.ticks)), 1)
        self._durations: dict[int, int] = {}  # of the frames inside the encoder, by pts
        self._start: int | None = None
        self._end = 0
        self._first_dts = 0
        self._last_dts: int | None = None
        self._lead = Fraction(1)

    @property
    def movie_timescale(self) -> int:
        """Ticks a second in which MP4 tells by how much a track starts late: the picture's exactly, others' finely."""
        return self.ticks.denominator * -(-_DELAY_TICKS // self.ticks.denominator)

    @property
    def end_seconds(self) -> Fraction:
        """When the last frame so far has been shown."""
        return self._end * self.ticks

    def place(self, frame: Frame) -> int:
        """Return the frame's pts in ticks."""
        pts = round(frame.pts * self._time_base / self.ticks)
        self.note(pts, max(round(frame.duration * self._time_base / self.ticks), 1))
        return pts

    def note(self, pts: int, duration: int) -> None:
        """Take notice of the next frame in order of presentation, in ticks."""
        self._durations[pts] = duration
        self._start = pts if self._start is None else self._start
        self._end = pts + duration

    def release(self, pts: int) -> int:
        """Return for how long the frame is shown that left the encoder, in ticks."""
        return self._durations.pop(pts, self.step)

    def correct(self, packet: "Packet[Any]", reordered: int) -> None:
        """Set an encoded packet's times; `reordered` is by how many pictures the encoder changes the order."""
        start, dts = self._start or 0, packet.dts or 0
        if self._last_dts is None:
            # Decoding starts ahead by the time of the first few pictures. If these are shown for long, the sum above
            # would be too long; the lead need not be longer than at the usual rate.
            lead = start - dts
            if lead > 0:
                self._lead = min(Fraction(1), Fraction(max(reordered, 1) * self.step, lead))
        if dts < start:
            dts = start + int((dts - start) * self._lead // 1)
        if self._last_dts is not None:
            dts = max(dts, self._last_dts + 1)
        else:
            self._first_dts = dts
        packet.dts = self._last_dts = dts
        packet.duration = self.release(packet.pts or 0)

    def conclude(self, packet: "Packet[Any]") -> None:
        """Let the packet that is decoded last fill up the sum to the time for which pictures are shown."""
        shown = self._end - (self._start or 0)
        packet.duration = max(shown - ((packet.dts or 0) - self._first_dts), 1)
