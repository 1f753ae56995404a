"""Parts of a picture moved along drawn paths.

What stands free where a path begins is cut out and moved as it is, over what fills its place; what is part of something
larger is bent: a smooth local warp that carries its surroundings along and never folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.effects.cut_out import MARGIN, cut_out
from services.creation.effects.fill import fill_hole
from shared.arrays import Image

Path = NDArray[np.float64]  # (N, 2): x and y in pixels; one point alone holds its place still
Plane = NDArray[Any]  # float32 (H, W)

CORE = 0.08  # radius, in shorter sides of the picture, of what a bend moves as it is
REACH = 2.6  # how far a bend reaches beyond that, in lengths of its move: above 1.875, where it would fold
LEAST_REACH = 0.2  # the same at least, in shorter sides
EDGE = 1.0  # pixels: how soft the outline of what was cut out is
EASE = 0.5  # of the move: 0 has a constant speed, 1 begins and ends at rest
ITERATIONS = 12  # of the inversion of a bend
GRID = 4  # pixels between the places for which a bend is computed; it is smooth


@dataclass(frozen=True)
class Piece:
    """What stands free at the beginning of a path.

    `colours` (H, W, 3) and their share `core` (H, W) are the thing itself; around it `glow` (H, W, 3) is what it adds
    to the ground there, and `alpha` (H, W) how much of all that is seen. `place` is where the top left corner was.
    """

    colours: Plane
    core: Plane
    glow: Plane
    alpha: Plane
    place: tuple[int, int]  # x, y
    path: Path

    @classmethod
    def of(cls, picture: Image, behind: Image, alpha: Plane, path: Path) -> Self:
        """Cut what `alpha` (H, W) shows out of a picture, given what is `behind` it."""
        rows, columns = np.nonzero(alpha)
        box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        colours = picture[box].astype(np.float32)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1, 2 * MARGIN + 1))
        core = cv2.erode((alpha[box] >= 1).astype(np.float32), kernel)
        core = cv2.GaussianBlur(core, (0, 0), EDGE)
        return cls(colours, core, colours - behind[box], alpha[box], (columns.min(), rows.min()), path)

    def laid_over(self, below: Image, eased: float) -> Image:
        """Return `below` (H, W, 3) with the thing over it, where its path leads."""
        shift = place_on(self.path, eased) - self.path[0]
        whole = np.floor(shift).astype(int)
        part = shift - whole
        height, width = self.alpha.shape
        move = np.array([[1.0, 0.0, part[0]], [0.0, 1.0, part[1]]])
        core, alpha = self.core[..., None], self.alpha[..., None]
        layers = [core * self.colours * alpha, (1 - core) * self.glow * alpha, core * alpha]
        own, glow, share = (cv2.warpAffine(layer, move, (width + 1, height + 1)) for layer in layers)
        x, y = self.place[0] + int(whole[0]), self.place[1] + int(whole[1])
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width + 1, below.shape[1]), min(y + height + 1, below.shape[0])
        if left >= right or top >= bottom:
            return below
        seen = slice(top - y, bottom - y), slice(left - x, right - x)
        ground = below[top:bottom, left:right].astype(np.float32)
        result = below.copy()
        mixed = ground * (1 - share[seen][..., None]) + own[seen] + glow[seen]
        result[top:bottom, left:right] = np.clip(np.rint(mixed), 0, 255)
        return result


class Drag:
    """A picture (H, W, 3) whose parts follow paths; `frame` is the picture at a time between 0 and 1."""

    def __init__(self, picture: Image, paths: Sequence[Path]) -> None:
        self._shorter = min(picture.shape[:2])
        self._picture = picture
        alphas = [cut_out(picture, path[0]) if len(path) > 1 else None for path in paths]
        hole = np.any(
            [alpha > 0 for alpha in alphas if alpha is not None] or [np.zeros(picture.shape[:2], bool)], axis=0
        )
        self._behind = fill_hole(picture, hole)
        found = list(zip(alphas, paths, strict=True))
        self._pieces = [Piece.of(picture, self._behind, alpha, path) for alpha, path in found if alpha is not None]
        self._bends = [path for alpha, path in found if alpha is None]
        self._grid_size = -(-picture.shape[1] // GRID), -(-picture.shape[0] // GRID)
        self._weights = [self._weight(path) for path in self._bends]

    def frame(self, time: float) -> Image:
        """Return the picture with everything at its place at `time`, 0 to 1."""
        eased = (1 - EASE) * time + EASE * time * time * (3 - 2 * time)
        result = self._bent(eased)
        for piece in self._pieces:
            result = piece.laid_over(result, eased)
        return result

    def _weight(self, path: Path) -> Plane:
        """Return how far each place of the grid goes along with a bend: 1 at its beginning, 0 out of its reach."""
        across, down = _grid(self._grid_size)
        start = (path[0] + 0.5) / GRID - 0.5
        distance = GRID * np.hypot(across - np.float32(start[0]), down - np.float32(start[1]))
        longest = float(np.linalg.norm(path - path[0], axis=1).max())
        reach = max(REACH * longest, LEAST_REACH * self._shorter)
        return _smootherstep(np.clip(1 - (distance - np.float32(CORE * self._shorter)) / np.float32(reach), 0, 1))

    def _bent(self, eased: float) -> Image:
        moves = [place_on(path, eased) - path[0] for path in self._bends]
        if not any(move.any() for move in moves):
            return self._behind
        total = np.maximum(np.sum(self._weights, axis=0, dtype=np.float32), 1)
        shift = [
            np.asarray(
                sum(weight / total * np.float32(move[axis]) for move, weight in zip(moves, self._weights, strict=True))
            )
            for axis in (0, 1)
        ]
        height, width = self._picture.shape[:2]
        across, down = _grid((width, height))
        from_x, from_y = (cv2.resize(way, (width, height), interpolation=cv2.INTER_CUBIC) for way in _way_back(*shift))
        bent = cv2.remap(self._behind, across - from_x, down - from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(bent, np.uint8)


def place_on(path: Path, fraction: float) -> NDArray[np.float64]:
    """Return the point (2,) at a fraction of the length of a path."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    if lengths[-1] == 0:
        start: NDArray[np.float64] = path[0]
        return start
    wanted = fraction * lengths[-1]
    return np.array([np.interp(wanted, lengths, path[:, axis]) for axis in (0, 1)])


def _grid(size: tuple[int, int]) -> tuple[Plane, Plane]:
    """Return x and y of every place of a grid of `size` (columns, rows)."""
    across, down = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    return across, down


def _way_back(shift_x: Plane, shift_y: Plane) -> tuple[Plane, Plane]:
    """Return how far each place of the grid lies from where its content comes from, by fixed-point iteration.

    All lengths are pixels of the picture. The iteration converges for shifts that do not fold.
    """
    across, down = _grid((shift_x.shape[1], shift_x.shape[0]))
    back_x, back_y = shift_x, shift_y
    for _ in range(ITERATIONS):
        place = across - back_x / GRID, down - back_y / GRID
        back_x, back_y = (
            cv2.remap(shift, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for shift in (shift_x, shift_y)
        )
    return back_x, back_y


def _smootherstep(value: Plane) -> Plane:
    return np.asarray(value**3 * (value * (6 * value - 15) + 10), np.float32)
