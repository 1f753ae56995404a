"""From the small pictures of a draft to the size that was asked for."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import cv2
import numpy as np

from services.creation.aspect import STEP
from services.creation.engine import Image

AREA = 320 * 192  # pixels of a draft, at most: every step costs more than in proportion to it
FILLED = 0.88  # how much of that area is used at least, so that a shape may fit well
RATIO = 4  # what the upscaling network makes of a side


def draft_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of the draft of a picture: multiples of 16 within `AREA`, as near to its shape as can be.

    320x192 for 16:9. The draft of a picture that is smaller than that has its size.
    """
    area = min(AREA, size[0] * size[1])
    sides = range(STEP, area // STEP + 1, STEP)
    widths = {height: area // height // STEP * STEP for height in sides}
    candidates = [
        (width, height)
        for height, widest in widths.items()
        for width in (widest, widest - STEP)
        if width > 0 and width * height >= FILLED * area
    ]
    return min(candidates, key=lambda candidate: abs(math.log(candidate[0] / candidate[1] * size[1] / size[0])))


def enlarge(
    frames: list[Image], size: tuple[int, int], upscale: Callable[[Image, int], Image], told: Callable[[int], None]
) -> Iterator[Image]:
    """Yield the frames at `size` (width, height): upscaled, cropped to its shape and averaged down to it.

    `told` hears how many are done after each; it may raise to stop.
    """
    for count, frame in enumerate(frames, start=1):
        large = cropped(upscale(frame, RATIO), Fraction(*size))
        smaller = size[0] <= large.shape[1]
        resized = cv2.resize(large, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4)
        yield np.asarray(resized, np.uint8)
        told(count)


def cropped(image: Image, ratio: Fraction) -> Image:
    """Return the middle of a picture, as much of it as has the shape `ratio`."""
    height, width = image.shape[:2]
    wanted_width = min(width, round(height * ratio))
    wanted_height = min(height, round(width / ratio))
    left, top = (width - wanted_width) // 2, (height - wanted_height) // 2
    return np.ascontiguousarray(image[top : top + wanted_height, left : left + wanted_width])
