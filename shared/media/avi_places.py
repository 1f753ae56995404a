"""When the pictures of an AVI are shown: its packets tell only when they are decoded.

One place on the clock belongs to each packet, and the pictures take them in the order in which they are shown.
"""

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Any

import av
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_REORDERING = {
    "h264",
    "hevc",
    "mpeg4",
    "mpeg2video",
    "mpeg1video",
}  # codecs that AVI holds and that show pictures in another order
_LOOKED_AT = 48  # packets; three times the most that may wait to be shown


class AviPlaces:
    """The places of one pass over a track, from a key frame on."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._places: deque[int] = deque()
        self._key_places: deque[int] = deque()
        self._lost_at_start: int | None = None

    def noted(self, packets: "Iterator[Packet[Any]]") -> "Iterator[Packet[Any]]":
        """Yield the packets of the track, each with the place that it brings; note them all."""
        head: list[Packet[Any]] = []
        for packet in packets:
            head.append(packet)
            if len(head) == _LOOKED_AT:
                break
        for packet in chain(self._looked_at(head), packets):
            if packet.size and packet.dts is not None:
                self._places.append(packet.dts)
                packet.pts = packet.dts  # so that the picture tells which packet it came in
                if packet.is_keyframe:
                    self._key_places.append(packet.dts)
            yield packet

    def placed(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        """Give decoded pictures their times: the n-th one shown has the n-th place.

        Nothing that was decoded from a key frame on is shown before the pictures of earlier packets: what of these has
        not come by then is broken.
        """
        first_place = 0
        for frame in frames:
            while self._key_places and frame.pts is not None and self._key_places[0] <= frame.pts:
                first_place = self._key_places.popleft()
            while self._places and self._places[0] < first_place:
                self._places.popleft()
            while self._lost_at_start and self._places:
                self._lost_at_start -= 1
                self._places.popleft()
            if self._places:
                frame.pts = self._places.popleft()
            yield frame

    def _looked_at(self, head: "list[Packet[Any]]") -> "list[Packet[Any]]":
        """Find out how many pictures are lost between the first key frame and what is shown before it.

        A file that was cut out of a longer one may begin with them: they need pictures from before the cut.
        """
        packets = [packet for packet in head if packet.size]
        keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
        if keys and self._stream.codec_context.name in _REORDERING:
            come = self._decoded(packets[keys[0] :])
            self._lost_at_start = next((number for number in range(1, len(packets)) if number in come), 1) - 1
        return head

    def _decoded(self, packets: "list[Packet[Any]]") -> set[int]:
        """Return which of the packets become pictures, at least until the one after the key frame does.

        The key frame is number 0.
        """
        told = self._stream.codec_context
        context = CodecContext.create(told.name, "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata, context.width, context.height = told.extradata, told.width, told.height
        context.thread_count = 1
        come: set[int] = set()
        for number, packet in enumerate(packets):
            trial = Packet(bytes(packet))
            trial.pts = trial.dts = number
            try:
                come.update(frame.pts for frame in context.decode(trial) if frame.pts is not None)
            except av.FFmpegError:
                continue
            if 1 in come:
                break
        return come
