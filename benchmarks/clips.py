"""Small clips: made ones, of which every edge is known, and pieces of a film."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from shared import weights
from shared.arrays import Image

SIZE = (320, 180)  # width, height of a piece of film
SOUND_RATE = 44_100  # samples a second
SOUND_BLOCK = 1024  # samples an AAC frame


def write_clip(
    target: Path, *, size: tuple[int, int], frames: int, rate: Fraction = Fraction(24), sound: bool = False
) -> Path:
    """Write an H.264 MP4 of a moving pattern, `size` (width, height), with a 440 Hz tone of its length if asked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    with av.open(target, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for number in range(frames):
            picture = np.stack([rows * 3 + number * 3, columns * 2, rows + columns + number * 7], axis=-1) % 256
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            for begin in range(0, int(frames / rate * SOUND_RATE), SOUND_BLOCK):
                instants = np.arange(begin, begin + SOUND_BLOCK) / SOUND_RATE
                wave = (0.2 * np.sin(2 * np.pi * 440 * instants)).astype(np.float32)
                block = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = SOUND_RATE, begin, Fraction(1, SOUND_RATE)
                container.mux(audio.encode(block))
            container.mux(audio.encode())
    return target


def clip_frames(count: int, size: tuple[int, int] = SIZE) -> list[Image]:
    """Return frames of Big Buck Bunny at `size` (width, height)."""
    with av.open(str(weights.path("clip-bigbuckbunny"))) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [np.ascontiguousarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA)) for p in pictures[30 : 30 + count]]


def write_frames(path: Path, frames: Iterable[Image], size: tuple[int, int] = SIZE) -> Path:
    """Write the clip that every engine works on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return path
