"""Writing a video: frames from a model, everything else from the source, into one MP4."""

import contextvars
import threading
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from shared.arrays import Picture
from shared.errors import JobFailed
from shared.files.handles import OutputFile, write_problem
from shared.media import captions
from shared.media.colour import Colour, ToYuv
from shared.media.container import MAX_SIDE
from shared.media.decode import VideoSource
from shared.media.encoders import Encoder, choose_encoder
from shared.media.frame import Frame
from shared.media.frame_queue import Channel, depth_for
from shared.media.mp4_timing import Mp4Timing
from shared.media.orientation import Orientation
from shared.media.provenance import KEY, Label
from shared.media.stream_copy import CopiedStream, carry_over
from shared.media.watermark import stamp
from shared.settings import Settings

_RATE_LIMIT = 1_000_000  # the largest denominator of a frame rate
_LABELLED_SECONDS = 3  # the rule asks for two
_MADE_RATE = Fraction(24)
_BYTE = 8  # bits
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
    rate = frame_rate or (like.frame_rate if like else _MADE_RATE)
    unit = time_base or (like.time_base if like else 1 / rate)
    shape = None if display_oriented else like
    pixels = sample_aspect_ratio or (shape.sample_aspect_ratio if shape else None)
    plan = _Plan(target, like, shape, size, settings, label, rate.limit_denominator(_RATE_LIMIT), unit, pixels)
    channel: Channel[Frame] = Channel(depth_for(*size))
    outcome: Future[EncodeReport] = Future()

    def work() -> None:
        try:
            outcome.set_result(_write(plan, channel))
        except BaseException as failure:  # noqa: BLE001  # raised again by `result` in the calling thread
            outcome.set_exception(failure)
        finally:
            channel.close()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="encode", daemon=True)
    thread.start()
    try:
        for frame in frames:
            if not channel.put(frame):
                break  # the encoder failed; `outcome` says why
        channel.finish()
    except BaseException:
        channel.close()
        raise
    finally:
        thread.join()
    return outcome.result()


@dataclass(frozen=True)
class _Plan:
    """The arguments of the encoding thread."""

    target: OutputFile
    like: VideoSource | None
    shape: VideoSource | None  # whose orientation, pixel shape and depth the frames have
    size: tuple[int, int]
    settings: Settings
    label: Label
    frame_rate: Fraction
    time_base: Fraction
    sample_aspect_ratio: Fraction | None  # of the frames' pixels; None is unknown


def _write(plan: _Plan, frames: Channel[Frame]) -> EncodeReport:
    """Encode and mux in the calling thread."""
    first = next(frames, None)
    if first is None:
        raise JobFailed("result_without_frames")
    width, height = (side + side % 2 for side in plan.size)
    if max(width, height) > MAX_SIDE:
        raise JobFailed("result_too_large", width=width, height=height, limit=MAX_SIDE)
    deep = first.image.dtype == np.uint16 or (plan.shape is not None and plan.shape.bit_depth > _BYTE)
    encoder = choose_encoder(plan.settings, 10 if deep else _BYTE)
    try:
        with ExitStack() as stack:
            output = _Output(plan, encoder, (width, height), stack)
            for frame in chain([first], frames):
                output.write(frame)
            if frames.closed:  # the result is no longer wanted, nor the rest of the sound
                raise CancelledError
            return output.finish()
    except av.FFmpegError as problem:
        if 0 < (problem.errno or 0) < _FIRST_FFMPEG_ERROR:
            raise write_problem(OSError(problem.errno, problem.strerror), plan.target.name) from problem
        raise JobFailed("result_not_written", reason=problem.strerror) from problem


class _Output:
    """An MP4 that is being written: its picture stream and the other tracks, in step with it."""

    def __init__(self, plan: _Plan, encoder: Encoder, size: tuple[int, int], stack: ExitStack) -> None:
        self._plan = plan
        self._encoder = encoder
        self._size = size
        self._colour = plan.like.colour if plan.like else Colour.made(size[1])
        self._to_yuv = ToYuv(self._colour, encoder.pixel_format)
        self._timing = Mp4Timing(plan.time_base, plan.frame_rate)
        self._held: Packet[VideoStream] | None = None
        self._frames = 0
        self._container = av.open(
            plan.target.url,
            "w",
            format="mp4",
            container_options={
                "movflags": "+faststart+use_metadata_tags",
                "video_track_timescale": str(self._timing.ticks.denominator),
                "movie_timescale": str(self._timing.movie_timescale),  # else a late start is rounded to milliseconds
            },
        )
        stack.callback(_abandon, self._container)
        self._stream = self._picture_stream()
        self._tracks: list[CopiedStream] = []
        self._lost: list[str] = []
        self._captioned = False
        if plan.like is not None:
            self._tracks, lost = carry_over(plan.like.file, plan.like.origin_seconds, self._container, stack)
            self._lost = lost
        self._container.metadata[KEY] = plan.label.implicit()

    def write(self, frame: Frame) -> None:
        """Encode one frame and mux the packets that are ready."""
        self._frames += 1
        image = self._fitted(frame)
        if self._plan.label.visible and frame.pts * self._plan.time_base < _LABELLED_SECONDS:
            image = stamp(image, self._plan.shape.orientation if self._plan.shape else Orientation())
        picture = self._to_yuv(image)
        if frame.captions is not None and self._encoder.name in captions.ENCODERS:
            picture, self._captioned = frame.captions.on(picture), True
        picture.pts, picture.time_base = self._timing.place(frame), self._timing.ticks
        self._mux(self._stream.encode(picture))

    def finish(self) -> EncodeReport:
        """Flush the encoder, mux what is left of the other tracks and close the file."""
        self._mux(self._stream.encode(None))
        if self._held is not None:
            self._timing.conclude(self._held)
            self._mux_held()
        self._follow(None)
        self._container.close()
        return EncodeReport(
            frames=self._frames,
            width=self._size[0],
            height=self._size[1],
            duration_seconds=float(self._timing.end_seconds),
            encoder=self._encoder.name,
            lost=self._named_losses(),
        )

    def _named_losses(self) -> list[str]:
        """Name what the source had and the result has not; what its pictures had is known when all were read."""
        lost = self._plan.like.lost + self._lost if self._plan.like else self._lost
        if self._plan.like and self._plan.like.has_captions and not self._captioned:
            lost = [*lost, "closed captions"]
        return lost + [f"the end of {track.name}" for track in self._tracks if track.broken_off]

    def _picture_stream(self) -> VideoStream:
        """Set up the encoder, with the shape and the colour of the source stated explicitly."""
        stream = self._container.add_stream(
            self._encoder.name,
            rate=self._plan.frame_rate,
            options={**self._encoder.options, "chroma_sample_location": "left"},
            width=self._size[0],
            height=self._size[1],
            time_base=self._timing.ticks,
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.pix_fmt = self._encoder.pixel_format
        # PyAV asks for slice threads; each slice predicts anew, so the file grows with the number of cores.
        context.thread_type = "FRAME"
        context.colorspace = self._colour.matrix
        context.color_primaries = self._colour.primaries
        context.color_trc = self._colour.transfer
        context.color_range = 2 if self._colour.full_range else 1
        if self._encoder.tag:
            context.codec_tag = self._encoder.tag
        if self._plan.sample_aspect_ratio:
            context.sample_aspect_ratio = self._plan.sample_aspect_ratio
        if self._plan.shape is not None and self._plan.shape.display_matrix:
            stream.set_display_matrix(self._plan.shape.display_matrix)
        return stream

    def _fitted(self, frame: Frame) -> Picture:
        """Return the picture in the encoder's even size."""
        width, height = self._plan.size
        if frame.image.shape[:2] != (height, width):
            message = f"a frame is {frame.image.shape[1]}x{frame.image.shape[0]}, promised were {width}x{height}"
            raise ValueError(message)
        if (width, height) == self._size:
            return frame.image
        return np.pad(frame.image, ((0, self._size[1] - height), (0, self._size[0] - width), (0, 0)), mode="edge")

    def _mux(self, packets: list["Packet[VideoStream]"]) -> None:
        """Mux the picture's packets, the last one kept back, and the other tracks up to their time."""
        for packet in packets:
            self._timing.correct(packet, self._stream.codec_context.reorder_depth)
            self._mux_held()
            self._held = packet

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
