"""Calming what stands still: the noise of static regions is averaged in time, whatever moves passes untouched."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Plane = NDArray[Any]  # float32, (H, W) or (H, W, 3)

STILL, MOVING = 1.5, 7.0  # mean change of a neighbourhood, in levels of 255: below is noise, above is motion
SLOWEST = 0.15  # how much of a still pixel is renewed every frame: noise falls to 0.28 of itself


def steady(frames: Iterable[Image]) -> Iterator[Plane]:
    """Yield frames (H, W, 3) as float32 0-1, recursively averaged where nothing moves; a cut starts anew by itself."""
    memory: Plane | None = None
    for frame in frames:
        now = frame.astype(np.float32)
        if memory is None:
            memory = now
        else:
            change = cv2.subtract(now, memory)
            size = cv2.GaussianBlur(cv2.cvtColor(cv2.absdiff(now, memory), cv2.COLOR_RGB2GRAY), (0, 0), 2.0)
            renewal = np.clip((size - STILL) / (MOVING - STILL), SLOWEST, 1.0)
            memory = cv2.add(memory, cv2.multiply(change, cv2.merge([renewal] * 3)))
        yield np.asarray(memory * np.float32(1 / 255), np.float32)
