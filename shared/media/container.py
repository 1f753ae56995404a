"""Opening an untrusted file: which formats, which protocols, how large, and what is in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from shared.errors import UnreadableMedia
from shared.files.handles import InputFile

# Formats that hold their media in the one file that was opened. Playlists (hls, dash, concat) would let a file name
# another file, here or elsewhere, and are left out; so are raw elementary streams, which have no times.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg,gif,mxf,nut,ivf"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

MAX_SIDE = 16384  # pixels; what H.264, HEVC and AV1 encoders take
MAX_PIXELS = 8192 * 4320
MAX_STREAMS = 64
MAX_SECONDS = 24 * 3600


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


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the picture track, cover art aside, within our limits."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise UnreadableMedia("media_without_video", name=name)
    stream = streams[0]
    if stream.codec_context is None:
        raise UnreadableMedia("media_unknown_codec", name=name)
    width, height = stream.codec_context.width, stream.codec_context.height
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise UnreadableMedia("media_too_large", name=name, width=width, height=height, limit=MAX_PIXELS)
    if (container.duration or 0) > MAX_SECONDS * av.time_base:
        raise UnreadableMedia("media_too_long", name=name, hours=MAX_SECONDS // 3600)
    stream.thread_type = "AUTO"
    return stream


def origin_seconds(container: InputContainer) -> Fraction:
    """When the earliest picture or sound starts: the zero of our clock, so that a recording's offset goes away.

    Never negative: what lies before zero is an encoder's run-in, which edit lists hide.
    """
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in {"video", "audio"}
        and not stream.disposition & Disposition.attached_pic
        and stream.start_time is not None
        and stream.time_base is not None
    ]
    return max(min(starts, default=Fraction(0)), Fraction(0))


def duration_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Return how long the picture track lasts, or the file if only that is known; 0.0 if neither is."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base
