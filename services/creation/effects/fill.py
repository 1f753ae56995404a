"""What lies behind something that is moved away: the hole is filled with texture from elsewhere in the same picture.

One piece of the picture serves the whole hole, the one whose surroundings are most like the hole's; its difference to
them is then taken away smoothly, as in the membrane of Perez, Gangnet and Blake, "Poisson Image Editing" (2003).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.arrays import Image

Mask = NDArray[np.bool_]

RING = 9  # pixels around a hole that what fills it is compared with
SEARCHED = 256  # pixels of the longer side of the picture in which it is searched


def fill_hole(picture: Image, hole: Mask) -> Image:
    """Return the picture (H, W, 3) with its `hole` (H, W) filled; without one, the picture."""
    if not hole.any() or hole.all():
        return picture
    ring = _grown(hole, RING) & ~hole
    shift = _best_shift(picture, hole)
    elsewhere = np.zeros(picture.shape, np.float32)  # where no piece is large enough, smooth colours must do
    if shift is not None:
        elsewhere += np.roll(picture, (-shift[1], -shift[0]), axis=(0, 1))
    difference = _membrane(picture.astype(np.float32) - elsewhere, ring, hole)
    filled = np.where(hole[..., None], elsewhere + difference, picture)
    return np.asarray(np.clip(np.rint(filled), 0, 255), np.uint8)


def _best_shift(picture: Image, hole: Mask) -> tuple[int, int] | None:
    """Return how far away (x, y, in pixels) the hole's surroundings look most alike; None where no piece suffices."""
    height, width = hole.shape
    scale = min(1.0, SEARCHED / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    missing = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    ring = _grown(missing, 3) & ~missing
    rows, columns = np.nonzero(missing | ring)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    if bottom - top >= size[1] or right - left >= size[0]:
        return None
    compared = np.repeat(ring[top:bottom, left:right, None], 3, axis=2).astype(np.float32)
    cost = cv2.matchTemplate(small, small[top:bottom, left:right], cv2.TM_SQDIFF, mask=compared)
    taken = missing[top:bottom, left:right].astype(np.float32)
    overlap = cv2.matchTemplate(missing.astype(np.float32), taken, cv2.TM_CCORR)
    cost[~(np.isfinite(cost) & (overlap < 0.5))] = np.inf  # noqa: PLR2004  # what fills a hole is no hole itself
    row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
    if not np.isfinite(cost[row, column]):
        return None
    return round((column - left) / scale), round((row - top) / scale)


def _membrane(difference: NDArray[np.float32], known: Mask, wanted: Mask) -> NDArray[np.float32]:
    """Continue `difference` (H, W, 3) smoothly from where it is known into the wanted region."""
    weight = known.astype(np.float32)
    value = difference * weight[..., None]
    result = np.zeros_like(difference)
    open_ = wanted.copy()
    sigma = 2.0
    while open_.any() and sigma < 2 * max(wanted.shape):
        spread = cv2.GaussianBlur(weight, (0, 0), sigma)
        reached = open_ & (spread > 1e-3)  # noqa: PLR2004  # of the whole weight: enough for a mean
        if reached.any():
            mean = cv2.GaussianBlur(value, (0, 0), sigma)
            result[reached] = mean[reached] / spread[reached, None]
            open_ &= ~reached
        sigma *= 2
    return result


def _grown(mask: Mask, pixels: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)
