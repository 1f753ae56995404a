"""Outlines of pixel art: one cell wide, on the darker side of what separates two things, and nowhere else.

A border lies between two cells, where the colour changes most. It is an outline where the mean colours at some
distance on both sides differ too: they do at a figure's edge, and do not within grass or hair.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.effects.grade import Lab

Mask = NDArray[np.bool_]

NEAR, FAR = 0.6, 1.6  # sigmas in cells: of what a border is found in, and of the means on both sides
AWAY = 2  # cells from the border to where the means are taken
STEP = 8.0  # in Lab from one cell to the next, at least
CONTRAST, KEPT_CONTRAST = 24.0, 14.0  # in Lab between both sides: of a new outline, and of one in the frame before
LENGTH, KEPT_LENGTH = 16.0, 8.0  # in cells from end to end: the same for a whole outline
KEPT_SHARE = 0.5  # of an outline's cells that were one before: then it is the same outline


def outlines(cells: Lab, before: Mask | None) -> Mask:
    """Return which of the cells (rows, columns, 3) are outlines, given which were in the frame `before`."""
    near, far = cv2.GaussianBlur(cells, (0, 0), NEAR), cv2.GaussianBlur(cells, (0, 0), FAR)
    known = np.zeros(cells.shape[:2], bool) if before is None else before
    across = _darker_sides(near, far, known)
    down = _darker_sides(near.swapaxes(0, 1), far.swapaxes(0, 1), known.T).T
    return _long_ones(_without_corners(across | down), known)


def _darker_sides(near: Lab, far: Lab, known: Mask) -> Mask:
    """Return the darker cells beside the borders that are crossed along the rows."""
    steps = np.linalg.norm(near[:, 1:] - near[:, :-1], axis=-1)
    around = np.pad(steps, ((0, 0), (1, 1)))
    largest = (steps >= around[:, :-2]) & (steps > around[:, 2:])
    padded = np.pad(far, ((0, 0), (AWAY, AWAY), (0, 0)), mode="edge")
    before, behind = padded[:, : -2 * AWAY - 1], padded[:, 2 * AWAY + 1 :]
    contrast = np.linalg.norm(behind - before, axis=-1)
    needed = np.where(known[:, 1:] | known[:, :-1], KEPT_CONTRAST, CONTRAST)
    border = largest & (steps > STEP) & (contrast > needed)
    darker = before[..., 0] <= behind[..., 0]
    sides = np.zeros(known.shape, bool)
    sides[:, :-1] |= border & darker
    sides[:, 1:] |= border & ~darker
    return sides


def _without_corners(lines: Mask) -> Mask:
    """Thin stairs to diagonals: a cell goes whose two neighbours, one across and one down, touch at their corners."""
    thin = lines
    for side in (0, 2):
        padded = np.pad(thin, 1)
        across = padded[1:-1, :-2], padded[1:-1, 2:]
        down = padded[:-2, 1:-1], padded[2:, 1:-1]
        thin = thin & ~(padded[1:-1, side : side + thin.shape[1]] & (across[0] ^ across[1]) & (down[0] ^ down[1]))
    return thin


def _long_ones(lines: Mask, known: Mask) -> Mask:
    """Leave only lines that are long, gaps of two cells included, or that go on from before and are not short."""
    joined = cv2.dilate(lines.astype(np.uint8), np.ones((3, 3), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    length = np.hypot(boxes[:, cv2.CC_STAT_WIDTH] - 2, boxes[:, cv2.CC_STAT_HEIGHT] - 2)
    cells, kept = (np.bincount(labels[part], minlength=count) for part in (lines, lines & known))
    drawn = length >= np.where(kept >= KEPT_SHARE * cells, KEPT_LENGTH, LENGTH)
    return np.asarray(lines & drawn[labels], bool)
