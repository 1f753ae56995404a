"""Temporal noise reduction: static regions are averaged over time, moving ones are left as they are."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.memory import Memory
from shared.arrays import Image

Plane = NDArray[Any]  # float32, (H, W) or (H, W, 3)

STILL, MOVING = 1.5, 7.0  # mean change of a neighbourhood, in levels of 255: below is noise, above is motion
SLOWEST = 0.15  # weight of the new frame in a static pixel: the noise falls to 0.28 of what it was


def temporal_denoise(frames: Iterable[Image], memory: Memory | None = None) -> Iterator[Plane]:
    """Yield frames (H, W, 3) as float32 0-1, recursively averaged where nothing moves; a cut resets the average."""
    memory = memory or Memory()
    average: Plane | None = memory.array("average")
    for frame in frames:
        now = frame.astype(np.float32)
        if average is None:
            average = now
        else:
            change = cv2.subtract(now, average)
            amount = cv2.GaussianBlur(cv2.cvtColor(cv2.absdiff(now, average), cv2.COLOR_RGB2GRAY), (0, 0), 2.0)
            weight = np.clip((amount - STILL) / (MOVING - STILL), SLOWEST, 1.0)
            average = np.asarray(cv2.add(average, cv2.multiply(change, cv2.merge([weight] * 3))))
        memory.keep("average", average)
        yield np.asarray(average * np.float32(1 / 255), np.float32)
