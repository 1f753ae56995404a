"""The grid of pixel art: how large a drawn pixel is, one colour for each of them, and back to the frame."""

import math

import cv2
import numpy as np

from services.creation.effects.grade import Lab
from shared.arrays import Image

CELLS = 90  # on each side of a square picture, at least; other shapes have as many in all
STEP = 4  # frame pixels: cells whose sides are a multiple of it lie on the grid of an encoder's blocks, and stay flat
SMOOTHING = 5, 40, 2.0  # of the bilateral filter at half size: diameter, levels of 255, pixels
SPLIT = 3.0  # how clearly a cell takes the side that fills most of it: 1 is the mean of both
SATURATION = 1.18
CRISPNESS, CRISPNESS_LIMIT = 0.9, 6.0  # unsharp mask on the grid and its bound in L: enough for edges, no halos


def cell_side(width: int, height: int) -> int:
    """Return the side of a cell in pixels: the largest multiple of 4 that leaves as many cells as 90x90, at least 4."""
    return max(STEP, int(math.sqrt(width * height) / CELLS / STEP) * STEP)


def to_cells(frame: Image) -> Lab:
    """Reduce a frame (H, W, 3) to one colour a cell, float32 (rows, columns, 3): sharpened, a little more saturated.

    A cell on a contour takes the colour of the side that fills most of it: a mean of both would look out of focus.
    The last row and the last column may be cut off by the frame's edge.
    """
    height, width = frame.shape[:2]
    cell = cell_side(width, height)
    rows, columns = -(-height // cell), -(-width // cell)
    whole = cv2.copyMakeBorder(frame, 0, rows * cell - height, 0, columns * cell - width, cv2.BORDER_REPLICATE)
    half = cv2.resize(whole, (columns * cell // 2, rows * cell // 2), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.bilateralFilter(half, *SMOOTHING).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    cells = _larger_side(lab, (columns, rows))
    light = cells[..., 0]
    detail = CRISPNESS * (light - cv2.GaussianBlur(light, (0, 0), 2.0))
    cells[..., 0] = np.clip(light + np.clip(detail, -CRISPNESS_LIMIT, CRISPNESS_LIMIT), 0, 100)
    cells[..., 1:] *= np.float32(SATURATION)
    return cells


def to_pixels(cells: Image, width: int, height: int) -> Image:
    """Return the frame (height, width, 3) that shows the cells (rows, columns, 3)."""
    cell = cell_side(width, height)
    frame = cv2.resize(cells, None, fx=cell, fy=cell, interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(frame[:height, :width])


def _larger_side(lab: Lab, size: tuple[int, int]) -> Lab:
    """Return one colour a cell, of its brighter or its darker part, whichever is larger; equal parts are mixed."""
    mean = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    middle = cv2.resize(mean[..., 0], lab.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    bright = (lab[..., 0] > middle).astype(np.float32)
    share = cv2.resize(bright, size, interpolation=cv2.INTER_AREA)[..., None]
    brighter = cv2.resize(lab * bright[..., None], size, interpolation=cv2.INTER_AREA)
    some = np.clip(share, 1e-3, 1 - 1e-3)
    darker = (mean - brighter) / (1 - some)
    wanted = np.clip(0.5 + SPLIT * (share - 0.5), 0, 1)
    return np.asarray(
        np.where((share > 0) & (share < 1), darker + wanted * (brighter / some - darker), mean), np.float32
    )
