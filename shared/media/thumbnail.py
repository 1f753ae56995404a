"""A small JPEG of a picture or of one frame of a video, as a player shows it. Runs in the process that may crash."""

import io
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
from PIL import Image
from PIL.Image import Resampling

from shared.arrays import Picture
from shared.files.handles import InputFile
from shared.media.colour import ToRgb
from shared.media.container import open_container, video_stream
from shared.media.decode import VideoSource, open_video
from shared.media.image import is_picture, read_picture
from shared.media.orientation import upright

_QUALITY = 82
_PATIENCE = 0.5  # seconds to look for a length that no header tells
_BEGINNING = Fraction(1, 10)  # of a video: what it begins with is often black


def thumbnail(file: InputFile, width: int, *, at: float | None = None, frame: int | None = None) -> bytes:
    """Return a JPEG of at most `width` pixels across, never enlarged; raise UnreadableMedia.

    `frame` is a frame of a video by its number (past the end the last one), `at` the one that is shown at so many
    seconds; without both it is a key frame near the first tenth, which is found without decoding what lies before.
    """
    if is_picture(file):
        return _encoded(read_picture(file), width, Fraction(1))
    with open_video(file, patience=_PATIENCE) as video:
        shape = Fraction(video.sample_aspect_ratio or 1) or Fraction(1)
        if at is not None:
            frame = max(0, round(at * video.frame_rate))
        picture = None
        if frame is None:
            with suppress(av.FFmpegError, StopIteration):
                picture = _key_frame(file, video)
        if picture is None:
            picture = video.frame_at(frame or 0).image
        turned = video.orientation.swaps_sides
        return _encoded(upright(picture, video.orientation), width, 1 / shape if turned else shape)


def _key_frame(file: InputFile, video: VideoSource) -> Picture:
    """Return the key frame before the first tenth; raise av.FFmpegError or StopIteration where none is found."""
    with open_container(file) as container:
        stream = video_stream(container, file.name)
        stream.thread_count = 1
        stream.codec_context.skip_frame = "NONKEY"
        container.seek(int(video.duration_seconds * _BEGINNING * av.time_base), backward=True)
        decoded = next(container.decode(stream))
        return ToRgb(video.colour, (video.width, video.height))(decoded)


def _encoded(picture: Picture, width: int, shape: Fraction) -> bytes:
    """Return a JPEG; `shape` is the width of a pixel over its height, as the picture is shown."""
    eight = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    image = Image.fromarray(eight)
    shown = max(1, round(image.width * shape)) if shape >= 1 else image.width
    height = image.height if shape >= 1 else max(1, round(image.height / shape))
    across = min(width, shown)
    image = image.resize((across, max(1, round(height * across / shown))), Resampling.BILINEAR, reducing_gap=2.0)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()
