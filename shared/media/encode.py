"""Writing a video: frames from a model, everything else from the source, into one MP4."""

from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain

import av
import numpy as np

from shared.errors import JobFailed
from shared.files.handles import OutputFile, write_problem
from shared.media.decode import VideoSource
from shared.media.frame import Frame
from shared.media.frame_queue import Channel, depth_for, hand_over
from shared.media.mp4_output import Mp4Output
from shared.media.picture_encoder import PictureEncoder
from shared.media.provenance import Label
from shared.media.result_format import ResultFormat
from shared.settings import Settings

_FIRST_FFMPEG_ERROR = 4096  # FFmpeg's own codes lie above the system's


@dataclass(frozen=True)
class EncodeReport:
    """What was written. `lost` names what the source had and the result has not, for the task's details."""

    frames: int
    width: int
    height: int
    duration_seconds: float
    encoder: str
    lost: list[str] = field(default_factory=list)


def encode(
    frames: Iterable[Frame],
    target: OutputFile,
    *,
    like: VideoSource | None,
    size: tuple[int, int],
    settings: Settings,
    label: Label,
    frame_rate: Fraction | None = None,
    time_base: Fraction | None = None,
    sample_aspect_ratio: Fraction | None = None,
    display_oriented: bool = False,
) -> EncodeReport:
    """Write `frames` of `size` (width, height) to `target` as MP4, encoding in a thread while the next ones are made.

    Sound, subtitles, chapters, metadata, colour, orientation and pixel shape come from `like`; None is a clip made from
    nothing. `frame_rate` is the nominal one and `time_base` the unit of the frames' times, by default those of `like`;
    a frame is shown from its pts to the next one's, the last for its duration. 4:2:0 has no odd sizes: an odd side
    grows by repeating its last line. `sample_aspect_ratio` replaces the pixel shape of `like`. `presented` frames are
    upright with square pixels, as a player shows them: the source's orientation, pixel shape and depth no longer apply
    to them.

    A failure in `frames` ends the thread and comes through unchanged; an encoder's problem is raised as JobFailed. On
    failure the content of `target` is useless; its owner discards it.
    """
    result = partial(
        ResultFormat.of,
        settings,
        like=like,
        size=size,
        frame_rate=frame_rate,
        time_base=time_base,
        sample_aspect_ratio=sample_aspect_ratio,
        display_oriented=display_oriented,
    )

    def work(channel: Channel[Frame]) -> EncodeReport:
        first = next(channel, None)
        if first is None:
            raise JobFailed("result_without_frames")
        return _write(chain([first], channel), channel, target, result(deep=first.image.dtype == np.uint16), label)

    return hand_over(frames, work, depth_for(*size)).result()


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Raise what libav says of a file called `name`, or of its encoder, as the JobFailed that its callback carries."""
    try:
        yield
    except av.FFmpegError as problem:
        if 0 < (problem.errno or 0) < _FIRST_FFMPEG_ERROR:
            raise write_problem(OSError(problem.errno, problem.strerror), name) from problem
        raise JobFailed("result_not_written", reason=problem.strerror) from problem


def _write(
    frames: Iterable[Frame], channel: Channel[Frame], target: OutputFile, result: ResultFormat, label: Label
) -> EncodeReport:
    """Encode and mux in the calling thread."""
    with writing(target.name), ExitStack() as stack:
        output = Mp4Output(result, target, label, stack)
        encoder = PictureEncoder(result, output.stream, output.timing)
        for frame in frames:
            output.mux(encoder.encode(frame), encoder.reordered)
        if channel.closed:  # the result is no longer wanted, nor the rest of the sound
            raise CancelledError
        output.mux(encoder.flush(), encoder.reordered)
        lost = result.like.losses(captioned=encoder.captioned) if result.like else []
        return report(result, encoder.frames, output, lost)


def report(result: ResultFormat, frames: int, output: Mp4Output, lost: list[str]) -> EncodeReport:
    """Close a file whose picture is complete; return what was written. `lost` is what the source's pictures had."""
    lost = lost + output.finish()
    width, height = result.coded_size
    return EncodeReport(frames, width, height, float(output.timing.end_seconds), result.encoder.name, lost)
