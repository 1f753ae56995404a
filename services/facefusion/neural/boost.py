"""Pixel boost: a network of a fixed size on a larger chip, by sub-images that interleave.

A chip of n times the network's side is taken apart into n * n pictures, each of every n-th pixel, so that each shows
the whole face. Each is swapped, and their pixels go back to where they came from.
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.facefusion.face import Float

Setting = Literal["auto", "1", "2", "4"]
FACTORS = (1, 2, 4)
LARGEST_SIDE = 1024  # pixels of a boosted chip
SLACK = 1.25  # a chip may be that much coarser than the frame's face before it is boosted
KEEPS = 1.15  # and a track's factor stays while the size that it was chosen for is exceeded by no more


def take_apart(chip: Float, factor: int) -> Float:
    """(n * s, n * s, 3) to (n * n, s, s, 3): picture `i * n + j` begins at row i and column j of the chip."""
    side = chip.shape[0] // factor
    cells = chip.reshape(side, factor, side, factor, 3)
    return cells.transpose(1, 3, 0, 2, 4).reshape(factor * factor, side, side, 3)


def put_together(parts: Float, factor: int) -> Float:
    """Undo `take_apart`: (n * n, s, s, 3) to (n * s, n * s, 3)."""
    side = parts.shape[1]
    cells = parts.reshape(factor, factor, side, side, 3)
    return cells.transpose(2, 0, 3, 1, 4).reshape(factor * side, factor * side, 3)


def enlarged(matrix: npt.NDArray[np.float64], factor: int) -> npt.NDArray[np.float64]:
    """Return the transform (2 x 3) to a chip that is n times as large; a coordinate is the middle of a pixel."""
    larger = matrix * factor
    larger[:, 2] += (factor - 1) / 2
    return larger


def factor_for(setting: Setting, matrix: npt.NDArray[np.float64], side: int, before: int | None = None) -> int:
    """Choose the factor for a face, given the transform from the frame to the chip of `side` pixels.

    `auto` takes the smallest with which the chip is no coarser than the face in the frame. The factor `before`, of the
    same track, stays while the face's size is near to what it was chosen for: each change could be seen.
    """
    possible = [factor for factor in FACTORS if factor * side <= LARGEST_SIDE]
    if setting != "auto":
        return min(int(setting), possible[-1])
    scale = 1 / math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))  # frame pixels for one of the chip
    if before in possible and _fit(scale / KEEPS, possible) <= before <= _fit(scale * KEEPS, possible):
        return before
    return _fit(scale, possible)


def _fit(scale: float, possible: list[int]) -> int:
    return next((factor for factor in possible if scale <= factor * SLACK), possible[-1])
