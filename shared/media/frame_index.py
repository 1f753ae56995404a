"""The position of the n-th picture in its file, from the packets, without decoding."""

import heapq
from collections.abc import Iterator
from fractions import Fraction

from av.container import InputContainer
from av.video.stream import VideoStream

from shared.media.continuity import has_foreign_pts, is_jump, may_jump, may_jump_ahead


def pts_of_frame(container: InputContainer, stream: VideoStream, index: int) -> int | None:
    """Return the presentation time of the index-th picture (0-based), of the last one when there are fewer.

    In units of the stream's time base as the container counts; None when a packet has no time of its own, or one that
    does not run on from the packet before.
    """
    last = None
    for position, pts in enumerate(_in_order(container, stream)):
        if pts is None:
            return None
        last = pts
        if position == index:
            break
    return last


def _in_order(container: InputContainer, stream: VideoStream) -> Iterator[int | None]:
    """Yield the packets' presentation times, ascending.

    Packets come in decoding order and none is shown before it is decoded: every pts below the dts at hand is final.
    So the heap holds the reordering delay only, and a frame near the beginning costs no pass over the whole file.
    """
    heap: list[int] = []
    expected: Fraction | None = None
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if packet.pts is None:
            yield None
            return
        if packet.dts is not None and may_jump(container):
            told = packet.dts * packet.time_base
            jumps = expected is not None and is_jump(expected, told, expected, ahead=may_jump_ahead(container))
            if jumps or has_foreign_pts(packet):
                yield None
                return
            expected = told + (packet.duration or 0) * packet.time_base
        heapq.heappush(heap, packet.pts)
        while packet.dts is not None and heap[0] < packet.dts:
            yield heapq.heappop(heap)
    while heap:
        yield heapq.heappop(heap)
