"""Packets to pictures, and how much damage is too much.

A single broken packet is concealed by the decoder or left out. A file that ends before the end in its header, or of
which more than a tenth cannot be decoded, is refused: an incomplete result that looks complete is worse than an error.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from shared.errors import UnreadableMedia
from shared.media.avi_places import AviPlaces
from shared.media.container import promised_end
from shared.media.continuity import Continuity, may_jump

_TOLERATED_FAILURES = 3  # packets, in the shortest of files; in longer ones a tenth
_MISSING_SECONDS = Fraction(1, 4)  # may be missing where only the whole file's length is known: it is rounded up


class Reader:
    """One pass over the picture track of an open container."""

    def __init__(self, container: InputContainer, stream: VideoStream, name: str) -> None:
        self._container = container
        self._stream = stream
        self._name = name
        self._is_mov = "mov" in container.format.name
        self.packets = 0  # of the picture track, so far
        self.bytes_read = 0  # of the file, so far
        self._failures = 0
        self._end_seconds = Fraction(0)
        self._pause_seconds = Fraction(0)  # the longest packet
        self._cut_short = False
        self._continuity = Continuity.of(container, stream.index) if may_jump(container) else None
        self._places = AviPlaces(stream) if "avi" in container.format.name else None
        self.first_pts: int | None = None  # of the first packet, a key frame after a seek
        self._first_dts: int | None = None

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the decoded pictures in order of presentation; raise UnreadableMedia when too much is broken."""
        packets = self._read() if self._places is None else self._places.noted(self._read())
        for packet in packets:
            try:
                frames = self._stream.decode(packet)
                yield from frames if self._places is None else self._places.placed(frames)
            except av.FFmpegError as problem:
                self._failures += 1
                if self._cut_short:  # the end of a truncated file, which `check_complete` reports
                    continue
                if self._failures > max(_TOLERATED_FAILURES, self.packets // 10):
                    raise UnreadableMedia("media_corrupt", name=self._name) from problem

    def check_complete(self) -> None:
        """After the last frame of a pass to the end, from the beginning or from a place that was sought: raise
        UnreadableMedia if the file is shorter than its header says.
        """  # fmt: skip
        promised = promised_end(self._container, self._stream, alone=self._is_mov)  # nothing else of MOV was read
        if self._continuity is not None and self._continuity.jumped:  # what libav sums up over a jump means nothing
            promised = Fraction(0)
        short = promised - self._end_seconds
        if (
            self._cut_short
            or (self._is_mov and self.packets < len(self._stream.index_entries) - self._skipped())
            or short > max(_MISSING_SECONDS, 2 * self._pause_seconds)
        ):
            raise UnreadableMedia(
                "media_truncated",
                name=self._name,
                seconds=f"{float(self._end_seconds):.1f}",
                promised=f"{float(promised):.1f}",
            )

    def _skipped(self) -> int:
        """Count the packets in the index of MOV before the one that reading began with."""
        if self._first_dts is None:
            return 0
        return max(self._stream.index_entries.search_timestamp(self._first_dts, any_frame=True), 0)

    def _all_packets(self) -> "Iterator[Packet[Any]]":
        """Start reading on a running clock, of MOV the picture alone: its index tells whether the file is complete."""
        if self._is_mov:
            for other in self._container.streams:
                other.discard = Discard.default if other is self._stream else Discard.all
        packets = self._container.demux()
        return packets if self._continuity is None else self._continuity.running(packets)

    def _read(self) -> Iterator["Packet[VideoStream]"]:
        """Yield the packets of the picture track and the final empty one that flushes the decoder."""
        packets = self._all_packets()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:  # the file cannot be read on from here
                self._cut_short = True
                return
            if packet.size and packet.time_base:
                self._note(packet)
            if packet.stream is self._stream:
                if packet.has_sidedata("encryption_info") or packet.has_sidedata("encryption_init_info"):
                    raise UnreadableMedia("media_encrypted", name=self._name)
                if packet.size:
                    self.packets += 1
                    if self.packets == 1:
                        self.first_pts, self._first_dts = packet.pts, packet.dts
                yield packet

    def _note(self, packet: "Packet[Stream]") -> None:
        """Keep how far the file reaches, and whether the packet at hand ends in the middle."""
        self.bytes_read = max(self.bytes_read, packet.pos or 0) + packet.size
        length = (packet.duration or 0) * packet.time_base
        if packet.pts is not None:
            self._end_seconds = max(self._end_seconds, packet.pts * packet.time_base + length)
        if packet.stream is self._stream:
            self._pause_seconds = max(self._pause_seconds, length)
        # Transport streams mark lost continuity the same way, which is damage and not an end.
        self._cut_short = packet.is_corrupt and "mpegts" not in self._container.format.name
