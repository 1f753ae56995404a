"""The clips and pictures with faces that are measured, and clips as files."""

from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image

from shared import weights
from shared.arrays import Image

CLIP_FRAMES = 48


def frames_of(name: str, count: int, start: int = 0) -> list[Image]:
    """Consecutive frames of a clip of the catalogue."""
    with av.open(weights.path(name)) as container:
        found = (np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0))
        return [image for index, image in enumerate(found) if start <= index < start + count]


def people(faces: int, size: tuple[int, int]) -> list[Image]:
    """One talking face as it is, or two of them side by side, at a size."""
    his = frames_of("clip-single-face", CLIP_FRAMES)
    if faces == 1:
        return [np.asarray(cv2.resize(frame, size), np.uint8) for frame in his]
    hers = frames_of("clip-woman-hands", CLIP_FRAMES, 260)
    both = (np.hstack([his[index][:, 120:440], hers[index][:, 300:620]]) for index in range(CLIP_FRAMES))
    return [np.asarray(cv2.resize(frame, size), np.uint8) for frame in both]


def picture(name: str) -> Image:
    """Read a picture of the catalogue."""
    with PIL.Image.open(weights.path(name)) as opened:
        return np.asarray(opened.convert("RGB"))


def write(path: Path, frames: list[Image]) -> Path:
    """Write a nearly lossless clip."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10", "preset": "veryfast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def decode(path: Path) -> list[Image]:
    """Every frame of a file."""
    with av.open(path) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]
