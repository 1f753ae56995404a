"""Packets to a file: an MP4 that is being written, its picture and the other tracks of the source in step with it."""

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet

from shared.files.handles import OutputFile
from shared.media.mp4_timing import Mp4Timing
from shared.media.provenance import KEY, Label
from shared.media.result_format import ResultFormat
from shared.media.stream_copy import CopiedStream, carry_over
from shared.process.lifetime import ordinary_scheduling


class Mp4Output:
    """The one way in which a result is written, whether its picture was encoded now or in segments before.

    `stream` has the encoder of the picture, and `timing` its clock; `stack` closes the file at the latest.
    """

    def __init__(self, result: ResultFormat, target: OutputFile, label: Label, stack: ExitStack) -> None:
        self.timing = Mp4Timing(result.time_base, result.frame_rate)
        self._held: Packet[Any] | None = None
        self._container = av.open(
            target.url,
            "w",
            format="mp4",
            container_options={
                "movflags": "+faststart+use_metadata_tags",
                "video_track_timescale": str(self.timing.ticks.denominator),
                "movie_timescale": str(self.timing.movie_timescale),  # else a late start is rounded to milliseconds
            },
        )
        stack.callback(_abandon, self._container)
        self.stream = result.add_track(self._container, self.timing.ticks)
        self._tracks: list[CopiedStream] = []
        self._lost: list[str] = []
        if result.like is not None:
            self._tracks, lost = carry_over(result.like.file, result.like.origin_seconds, self._container, stack)
            self._lost = lost
        self._container.metadata[KEY] = label.implicit()

    def start(self) -> bytes:
        """Begin the file; return the parameter sets (extradata) that it tells of its picture."""
        self._container.start_encoding()
        ordinary_scheduling()
        return self.stream.codec_context.extradata or b""

    def mux(self, packets: "Iterable[Packet[Any]]", reordered: int) -> None:
        """Mux the picture's packets, the last one kept back, and the other tracks up to their time."""
        for packet in packets:
            self.timing.correct(packet, reordered)
            self._mux_held()
            self._held = packet

    def finish(self) -> list[str]:
        """Mux what is left of all tracks and close the file; return what of the other tracks is lost."""
        if self._held is not None:
            self.timing.conclude(self._held)
            self._mux_held()
        self._follow(None)
        self._container.close()
        return self._lost + [f"the end of {track.name}" for track in self._tracks if track.broken_off]

    def _mux_held(self) -> None:
        if self._held is not None:
            seconds = (self._held.dts or 0) * self._held.time_base
            self._container.mux(self._held)
            self._follow(seconds)

    def _follow(self, seconds: Fraction | None) -> None:
        """Bring the other tracks up to the picture's time, to their end when it is None."""
        for track in self._tracks:
            for packet in track.until(seconds):
                self._container.mux(packet)


def _abandon(container: OutputContainer) -> None:
    """Close what `finish` did not; the file is useless, so its errors are ignored."""
    with suppress(av.FFmpegError):
        container.close()
