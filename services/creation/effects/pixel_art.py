"""Pixel art: one palette for the whole clip, an ordered dither that is fixed to the grid, cells of 4x4 pixels."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.memory import Memory
from shared.arrays import Image

Lab = NDArray[Any]  # float32 (..., 3): L 0-100, a and b about -100 to 100

CELL = 4  # frame pixels on a side of one drawn pixel; divides `aspect.STEP`
COLOURS = 48  # of the palette, at most
DITHER = 5.0  # peak to peak, in L
DITHER_FROM = 30.0  # the L from which the dither has full strength: black stays black
HOLD = 4.0  # a cell keeps its colour until another one is nearer by this distance in Lab
SATURATION = 1.18
CRISPNESS, CRISPNESS_LIMIT = 0.9, 6.0  # unsharp mask on the grid and its bound in L: enough for edges, no halos
BIN = 3.0  # width in Lab of the bins in which colours are counted when the palette is chosen
ROUNDS = 12  # of k-means; it converges after about eight

_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32)


def choose_palette(samples: Sequence[Image], seed: int) -> Lab:
    """Return at most 48 colours (N, 3) that suit all the samples; small bright objects keep their colours."""
    cells = np.concatenate([_grid(sample).reshape(-1, 3) for sample in samples])
    colours, counts = np.unique(np.round(cells / BIN), axis=0, return_counts=True)
    random = np.random.default_rng(seed % 2**64)
    return _k_means(colours.astype(np.float32) * np.float32(BIN), np.sqrt(counts).astype(np.float32), random)


def pixelate(frames: Iterable[Image], palette: Lab, memory: Memory | None = None) -> Iterator[Image]:
    """Yield frames (H, W, 3) in cells of the palette's colours; a cell changes only where the picture clearly does."""
    colours = _to_rgb(palette)
    memory = memory or Memory()
    shown: NDArray[np.uint8] | None = memory.array("shown")  # the colour of every cell in the frame before
    for frame in frames:
        grid = _grid(frame)
        height, width = grid.shape[:2]
        cells = (grid + _dither(grid[..., 0])[..., None] * np.array([1, 0, 0], np.float32)).reshape(-1, 3)
        distances = _distances(cells, palette)
        nearest = distances.argmin(axis=1)
        if shown is not None:
            every = np.arange(len(cells))
            gain = np.sqrt(distances[every, shown]) - np.sqrt(distances[every, nearest])
            nearest = np.where(gain < HOLD, shown, nearest)
        shown = nearest.astype(np.uint8)
        memory.keep("shown", shown)
        cells_rgb = colours[nearest.reshape(height, width)]
        art = cv2.resize(cells_rgb, None, fx=CELL, fy=CELL, interpolation=cv2.INTER_NEAREST)
        yield np.asarray(art, np.uint8)


def _dither(light: Lab) -> Lab:
    """Return what an ordered dither adds to L (H, W): fixed to the grid, so that the pattern does not move."""
    height, width = light.shape
    threshold = (np.tile(_BAYER, (-(-height // 4), -(-width // 4)))[:height, :width] + 0.5) / 16 - 0.5
    return np.asarray(DITHER * np.clip(light / DITHER_FROM, 0.2, 1) * threshold, np.float32)


def _grid(frame: Image) -> Lab:
    """Reduce a frame to one colour a cell (rows, columns, 3): smoothed, sharpened, a little more saturated."""
    height, width = frame.shape[:2]
    smooth = cv2.bilateralFilter(frame, 5, 40, 3)
    cells = cv2.resize(smooth, (width // CELL, height // CELL), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cells.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light = lab[..., 0]
    detail = CRISPNESS * (light - cv2.GaussianBlur(light, (0, 0), 2.0))
    lab[..., 0] = np.clip(light + np.clip(detail, -CRISPNESS_LIMIT, CRISPNESS_LIMIT), 0, 100)
    lab[..., 1:] = lab[..., 1:] * np.float32(SATURATION)
    return np.asarray(lab, np.float32)


def _to_rgb(palette: Lab) -> Image:
    rgb = cv2.cvtColor(palette[None], cv2.COLOR_LAB2RGB)[0]
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), np.uint8)


def _distances(colours: Lab, palette: Lab) -> Lab:
    """Return squared distances (colours, palette), by one matrix product."""
    squares: Lab = colours @ (-2 * palette.T)
    squares += (colours**2).sum(axis=1)[:, None]
    squares += (palette**2).sum(axis=1)
    return np.maximum(squares, 0, out=squares)


def _k_means(colours: Lab, weights: Lab, random: np.random.Generator) -> Lab:
    """Weighted k-means, initialised with k-means++ (Arthur and Vassilvitskii, 2007)."""
    centres = colours[[random.choice(len(colours), p=weights / weights.sum())]]
    while len(centres) < min(COLOURS, len(colours)):
        chance = weights * _distances(colours, centres).min(axis=1)
        if not chance.any():
            break
        centres = np.vstack([centres, colours[random.choice(len(colours), p=chance / chance.sum())]])
    for _ in range(ROUNDS):
        owner = _distances(colours, centres).argmin(axis=1)
        totals = np.bincount(owner, weights=weights, minlength=len(centres))
        for channel in range(3):
            sums = np.bincount(owner, weights=weights * colours[:, channel], minlength=len(centres))
            np.divide(sums, totals, out=centres[:, channel], where=totals > 0, casting="unsafe")
    return centres
