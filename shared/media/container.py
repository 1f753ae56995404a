"""Opening an untrusted file: which formats, which protocols, how large, and what is in it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from shared.errors import UnreadableMedia
from shared.files.handles import InputFile
from shared.media.continuity import may_jump_ahead

# Formats that hold their media in the one file that was opened. Playlists (hls, dash, concat) would let a file name
# another file, here or elsewhere, and are left out; so are raw elementary streams, which have no times.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg,gif,apng,mxf,nut,ivf"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

MAX_SIDE = 16384  # pixels; what H.264, HEVC and AV1 encoders take
MAX_PIXELS = 8192 * 4320
MAX_STREAMS = 64
MAX_SECONDS = 24 * 3600

_SEQUENCE_BRANDS = {"avis", "hevc", "msf1"}  # pictures in motion, which begin with one at rest

_CLOCK = re.compile(r"(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(\.\d+)?)")
_TOLD_AS_LENGTH = ("mov", "mpegts", "mpeg")  # libav's duration of other formats may be the time at which the file ends


@contextmanager
def open_container(file: InputFile) -> Iterator[InputContainer]:
    """Open for reading, by the checked descriptor alone; raises UnreadableMedia for anything but a known media file."""
    if file.size == 0:
        raise UnreadableMedia("media_empty", name=file.name)
    try:
        container = av.open(file.url, options=_OPTIONS, metadata_errors="replace", timeout=(10, None))
    except (av.FFmpegError, ValueError) as problem:  # a format outside the whitelist is a ValueError
        raise UnreadableMedia("media_unreadable", name=file.name) from problem
    try:
        if len(container.streams) > MAX_STREAMS:
            raise UnreadableMedia("media_too_many_streams", name=file.name, limit=MAX_STREAMS)
        yield container
    finally:
        container.close()


def picture_track(container: InputContainer) -> VideoStream | None:
    """Return the first track of pictures, cover art aside; of an animated AVIF not the still for simple viewers."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    moving = [stream for stream in streams if stream.frames > 1]
    if moving and container.metadata.get("major_brand") in _SEQUENCE_BRANDS:
        return moving[0]
    return streams[0] if streams else None


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the picture track, within our limits."""
    stream = picture_track(container)
    if stream is None:
        raise UnreadableMedia("media_without_video", name=name)
    if stream.codec_context is None:
        raise UnreadableMedia("media_unknown_codec", name=name)
    width, height = stream.codec_context.width, stream.codec_context.height
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise UnreadableMedia("media_too_large", name=name, width=width, height=height, limit=MAX_PIXELS)
    if _length_seconds(container) > MAX_SECONDS:
        raise UnreadableMedia("media_too_long", name=name, hours=MAX_SECONDS // 3600)
    stream.thread_type = "AUTO"
    return stream


def frame_rate(stream: VideoStream) -> Fraction | None:
    """Return the pictures a second that the container tells, or that libav found in the first of them."""
    return stream.average_rate or stream.guessed_rate or stream.base_rate


def origin_seconds(container: InputContainer) -> Fraction:
    """When the earliest picture or sound starts: the zero of our clock, so that a recording's offset goes away.

    An encoder's run-in before the first sample to be heard is no part of it.
    """
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in {"video", "audio"}
        and not stream.disposition & Disposition.attached_pic
        and stream.start_time is not None
        and stream.time_base is not None
    ]
    return min(starts, default=Fraction(0))


def duration_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Return how long the picture track lasts, or the file where only that is told; 0.0 when nothing is."""
    told = _told_seconds(container, stream)
    return float(_length_seconds(container) if told is None else told)


def promised_end(container: InputContainer, stream: VideoStream, *, alone: bool) -> Fraction:
    """Return the time, on the container's clock, that a complete file reaches at least by what its header says.

    `alone` asks for the end of the picture track, where the header tells it; other tracks may last longer. 0 when
    nothing is told.
    """
    start = Fraction(container.start_time or 0, av.time_base)
    if alone and stream.duration is not None and stream.time_base is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    length = Fraction(container.duration or 0, av.time_base)
    return start + length if _tells_length(container) else min(length, start + length)


def _told_seconds(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Return the length of one track as its header or, in Matroska, its statistics tell it."""
    told: Fraction | None = None
    told_as_end = "asf" in container.format.name
    if stream.duration is not None and stream.time_base is not None:
        told = stream.duration * stream.time_base
    elif clock := _CLOCK.fullmatch(stream.metadata.get("DURATION", "")):
        told = int(clock["hours"]) * 3600 + int(clock["minutes"]) * 60 + Fraction(clock["seconds"])
        told_as_end = True
    if told is not None and told > MAX_SECONDS and may_jump_ahead(container):
        return Fraction(0)
    start = (stream.start_time or 0) * (stream.time_base or Fraction(0))
    return told - start if told is not None and told_as_end and 0 < start < told else told


def _length_seconds(container: InputContainer) -> Fraction:
    """Return how long the file lasts, 0 when that is not told."""
    start, told = Fraction(container.start_time or 0, av.time_base), Fraction(container.duration or 0, av.time_base)
    if told > MAX_SECONDS and may_jump_ahead(container):  # more than their clock can count: it jumped back
        return Fraction(0)
    return told - start if not _tells_length(container) and 0 < start < told else told


def _tells_length(container: InputContainer) -> bool:
    return any(name in container.format.name for name in _TOLD_AS_LENGTH)
