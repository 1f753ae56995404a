"""Joining segments: their packets, not encoded again, become the picture of one result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from av.packet import Packet

from shared.files.handles import InputFile, OutputFile
from shared.media.encode import EncodeReport, report, writing
from shared.media.mp4_output import Mp4Output
from shared.media.provenance import Label
from shared.media.result_format import ResultFormat
from shared.media.segment_file import SegmentReader

OpenSegment = Callable[[], AbstractContextManager[InputFile]]


def join(
    segments: Sequence[OpenSegment],
    target: OutputFile,
    result: ResultFormat,
    label: Label,
    *,
    reordered: int,
    lost: list[str],
    check: Callable[[], None],
) -> EncodeReport:
    """Write the segments of one result to `target`, one after another, with everything else that the source has.

    `reordered` is the largest of the segments' reorderings, `lost` what the source's pictures had and theirs have not;
    `check` is called now and then and may raise to stop.
    Whatever a segment raises when it is opened comes through.
    """
    with writing(target.name), ExitStack() as stack:
        output = Mp4Output(result, target, label, stack)
        output.start()
        clock = _DecodingClock(reordered, output)
        frames = 0
        for opened in segments:
            check()
            with opened() as file:
                for packet in clock.placed(SegmentReader(file)):
                    output.mux([packet], reordered)
                    frames += 1
                    check()
        return report(result, frames, output, lost)


class _DecodingClock:
    """Says when each packet of a row of segments is decoded.

    Each segment's encoder began anew, with a lead of its own; together they must not overlap. So the n-th packet of all
    is decoded when the picture is shown that is the n-th but `reordered`: never after it is shown itself, and always
    later than the one before, whatever the rate. The first ones lead by the usual time of a picture.
    """

    def __init__(self, reordered: int, output: Mp4Output) -> None:
        self._reordered = reordered
        self._output = output
        self._waiting: list[int] | None = None  # the last `reordered` times, of pictures in order of presentation

    def placed(self, segment: SegmentReader) -> "Iterator[Packet[Any]]":
        timing = self._output.timing
        shown = segment.shown()
        for pts, duration in shown:
            timing.note(pts, duration)
        times = [pts for pts, _ in shown]
        if self._waiting is None and times:
            self._waiting = [times[0] - ahead * timing.step for ahead in range(self._reordered, 0, -1)]
        times = (self._waiting or []) + times
        for packet, dts in zip(segment.packets(), times, strict=False):
            packet.dts, packet.time_base = min(dts, packet.pts or 0), timing.ticks
            packet.stream = self._output.stream
            yield packet
        if self._waiting is not None:
            self._waiting = times[len(times) - self._reordered :]
