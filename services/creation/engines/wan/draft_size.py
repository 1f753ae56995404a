"""The size of a draft, and from it to the size that was asked for."""

import math
from collections.abc import Callable, Iterator

from services.creation.aspect import STEP
from services.creation.effects.viewport import cover
from shared.arrays import Image

AREA = 320 * 192  # pixels of a draft, at most: the cost of a step grows faster than the area
FILLED = 0.88  # share of that area that is used at least; less than all of it allows a better fit of the shape
RATIO = 4  # by which the upscaling network multiplies each side


def draft_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of the draft for a picture of `size`: multiples of 16 within `AREA`.

    The shape is as near to that of the picture as this allows: 320x192 for 16:9. A picture smaller than that is
    drafted at its own size.
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
    frames: list[Image], size: tuple[int, int], upscale: Callable[[Image, int], Image], on_frame: Callable[[int], None]
) -> Iterator[Image]:
    """Yield the frames at `size` (width, height): upscaled, cropped to its shape and resized to it.

    `on_frame` is called after each with the number that are done; what it raises stops the work.
    """
    for count, frame in enumerate(frames, start=1):
        yield cover(upscale(frame, RATIO), size)
        on_frame(count)
