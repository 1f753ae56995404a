"""One running clock for streams whose own jumps: recordings that were joined, or restarted.

Such a stream is a row of parts. In each, sound and picture count on one clock; the next part continues where the
picture of the last one ended. All readers of a file walk over all of its packets, so that all find the same parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

_BROADCAST = ("mpegts", "mpeg")  # the clock may jump anywhere; in others a long pause is a still on purpose
_FORMATS = (*_BROADCAST, "flv", "live_flv")  # others hold one clock by their design
_LONGEST_PAUSE = Fraction(10)  # seconds without any packet; FFmpeg's own limit
_STEP_BACK = Fraction(1, 4)  # seconds; less is disorder within a part
_MOST_HELD = 500  # packets of a new part that wait for its first picture

Packets = Iterator["Packet[Any]"]


def may_jump(container: InputContainer) -> bool:
    """Whether the format's clock may jump in the middle of a file."""
    return container.format.name in _FORMATS


def may_jump_ahead(container: InputContainer) -> bool:
    """Whether a long pause in this format is a jump of its clock."""
    return container.format.name in _BROADCAST


def is_jump(expected: Fraction, told: Fraction, reached: Fraction, *, ahead: bool) -> bool:
    """Whether a track that should go on at `expected` seconds is elsewhere; the part has `reached` so far.

    `ahead` is what `may_jump_ahead` says of the file.
    """
    return told < expected - _STEP_BACK or (ahead and told > max(expected, reached) + _LONGEST_PAUSE)


def has_foreign_pts(packet: "Packet[Any]") -> bool:
    """Whether libav gave the last picture before a jump a time from behind it: none is decoded so long ahead."""
    if packet.pts is None or packet.dts is None:
        return False
    return abs(packet.pts - packet.dts) * packet.time_base > _LONGEST_PAUSE


def packets_of(container: InputContainer, stream: Stream, lead: int) -> Packets:
    """Yield the packets of `stream` on a running clock, and the empty ones that flush its decoder.

    `lead` is the index of the picture track. Where the clock may jump, no other stream may be discarded.
    """
    if not may_jump(container):
        yield from container.demux(stream)
        return
    for packet in Continuity.of(container, lead).running(container.demux()):
        if packet.stream is stream:
            yield packet


@dataclass
class _Part:
    shift: Fraction | None  # seconds to add to its times; None until its first picture came
    reached: Fraction


@dataclass
class _Track:
    part: int
    expected: Fraction  # when its next packet is due, on the part's own clock
    end: Fraction  # of what was kept of it, on the running clock


@dataclass
class Continuity:
    """Finds the parts of a stream and moves its packets to the running clock; `lead` is the picture track's index."""

    lead: int
    ahead: bool  # whether its clock may jump ahead
    _parts: list[_Part] = field(default_factory=list)
    _tracks: dict[int, _Track] = field(default_factory=dict)
    _held: "list[tuple[int, Packet[Any]]]" = field(default_factory=list)

    @classmethod
    def of(cls, container: InputContainer, lead: int) -> Self:
        """Return one for a file that is open."""
        return cls(lead, may_jump_ahead(container))

    @property
    def jumped(self) -> bool:
        """Whether the clock has jumped so far."""
        return len(self._parts) > 1

    def running(self, packets: Packets) -> Packets:
        """Yield the packets with running times. What overlaps the end of its own track before a jump is left out."""
        for packet in packets:
            told = packet.pts if packet.dts is None else packet.dts
            if not packet.size or not packet.time_base:
                yield from self._settled(force=True)
                yield packet
            elif told is None:
                yield packet
            else:
                self._held.append((self._part_of(packet, told * packet.time_base), packet))
                yield from self._settled(force=len(self._held) > _MOST_HELD)

    def _part_of(self, packet: "Packet[Any]", told: Fraction) -> int:
        """Return the number of the part to which a packet belongs, a new one after a jump."""
        index = packet.stream.index
        if not self._parts:
            self._parts.append(_Part(Fraction(0), told))
        newest = len(self._parts) - 1
        track = self._tracks.get(index)
        if track is None:
            track = self._tracks[index] = _Track(newest, told, told + (self._parts[newest].shift or 0))
        elif track.part < newest:  # it follows another track over a jump, or is not yet there
            if abs(told - self._parts[newest].reached) < abs(told - track.expected):
                track.part = newest
        elif is_jump(track.expected, told, self._parts[newest].reached, ahead=self.ahead):
            self._parts.append(_Part(None, told))
            track.part = newest + 1
        part = self._parts[track.part]
        if part.shift is None and index == self.lead:
            part.shift = track.end - told
        part.reached = max(part.reached, told)
        track.expected = told + (packet.duration or 0) * packet.time_base
        if index == self.lead and part.shift is not None:
            track.end = max(track.end, track.expected + part.shift)
        return track.part

    def _settled(self, *, force: bool) -> Packets:
        """Yield the held packets whose part has its place on the running clock; `force` gives it one."""
        while self._held:
            number, packet = self._held[0]
            part, track = self._parts[number], self._tracks[packet.stream.index]
            begin = (packet.pts if packet.dts is None else packet.dts) * packet.time_base  # type: ignore[operator]
            if part.shift is None:
                if not force:
                    return
                part.shift = track.end - begin
            del self._held[0]
            length = (packet.duration or 0) * packet.time_base
            if packet.stream.index != self.lead:
                if number and begin + part.shift < track.end - length / 2:
                    continue
                track.end = max(track.end, begin + part.shift + length)
            shift = round(part.shift / packet.time_base)
            if has_foreign_pts(packet):
                packet.pts = None
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
            yield packet
