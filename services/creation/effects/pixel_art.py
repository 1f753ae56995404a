"""Pixel art: one palette for the whole clip, cells by the picture's size, outlines, and dither only in texture."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.effects.grade import Lab
from services.creation.effects.outlines import Mask, outlines
from services.creation.effects.palette import apart, distances, k_means
from services.creation.effects.pixel_grid import to_cells, to_pixels
from services.creation.memory import Memory
from shared.arrays import Image

COLOURS = 48  # of the palette, at most
DITHER = 5.0  # peak to peak, in L
DITHER_FROM = 30.0  # the L from which the dither has full strength: black stays black
DETAIL = 1.2  # in L, from which a cell differs from its surroundings
CALM, TEXTURED = 0.5, 0.8  # share of such cells: below are sky, skin and contours, which get no dither; above is grass
STILL, MOVING, SLOWEST = 3.0, 10.0, 0.15  # change of a cell in Lab: below is noise; weight of a new frame in it
HOLD = 8.0  # a cell keeps its colour until another one is nearer by this distance in Lab
STRAY = 14.0  # in Lab: a cell of calm ground whose neighbours all differ from it, by no more, becomes like them
OUTLINE = np.array([0.55, 0.9, 0.9], np.float32)  # of an outline's own colour in Lab
APART = 4.5  # in Lab, at least, between two colours of the palette: nearer ones would be told apart by noise
FLATNESS = 5, 8.0, 2.0  # of the bilateral filter that flattens calm ground: cells across, Lab, cells
BIN = 3.0  # width in Lab of the bins in which colours are counted when the palette is chosen

_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32)


def choose_palette(samples: Sequence[Image], seed: int) -> Lab:
    """Return at most 48 colours (N, 3) that suit all the samples; small bright objects keep their colours."""
    grids = [to_cells(sample) for sample in samples]
    drawn = np.concatenate([_prepared(cells, _texture(cells[..., 0]), outlines(cells, None)) for cells in grids])
    colours, counts = np.unique(np.round(drawn.reshape(-1, 3) / BIN), axis=0, return_counts=True)
    random = np.random.default_rng(seed % 2**64)
    weights = np.sqrt(counts).astype(np.float32)
    return apart(k_means(colours.astype(np.float32) * np.float32(BIN), weights, COLOURS, random), APART)


def pixelate(frames: Iterable[Image], palette: Lab, memory: Memory | None = None) -> Iterator[Image]:
    """Yield frames (H, W, 3) in cells of the palette's colours; a cell changes only where the picture clearly does."""
    colours = _to_rgb(palette)
    memory = memory or Memory()
    differences = np.sqrt(distances(palette, palette))
    for frame in frames:
        cells = _steadied(to_cells(frame), memory.array("cells"))
        memory.keep("cells", cells)
        lines = outlines(cells, memory.array("outlines"))
        texture = _texture(cells[..., 0])
        cells = _prepared(cells, texture, lines)
        cells[..., 0] += texture * _dither(cells[..., 0])
        shown = _held(cells, palette, memory.array("shown"))
        shown = _without_strays(shown, differences, (texture < 0.5) & ~lines)  # noqa: PLR2004  # half of the dither
        memory.keep("outlines", lines)
        memory.keep("shown", shown)
        yield to_pixels(colours[shown], frame.shape[1], frame.shape[0])


def _steadied(cells: Lab, average: Lab | None) -> Lab:
    """Average cells over time where they change by no more than noise does."""
    if average is None:
        return cells
    change = cells - average
    weight = np.clip((np.linalg.norm(change, axis=-1) - STILL) / (MOVING - STILL), SLOWEST, 1)
    return np.asarray(average + weight[..., None] * change, np.float32)


def _prepared(cells: Lab, texture: Lab, lines: Mask) -> Lab:
    """Flatten what is not textured, and darken the outlines."""
    flat = np.asarray(cv2.bilateralFilter(cells, *FLATNESS), np.float32)
    flat += texture[..., None] * (cells - flat)
    return np.where(lines[..., None], flat * OUTLINE, flat)


def _held(cells: Lab, palette: Lab, before: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return the palette's nearest colour of every cell (rows, columns), or the one before where it is as good."""
    squares = distances(cells.reshape(-1, 3), palette)
    nearest = squares.argmin(axis=1)
    if before is not None:
        every, held = np.arange(len(nearest)), before.ravel()
        gain = np.sqrt(squares[every, held]) - np.sqrt(squares[every, nearest])
        nearest = np.where(gain < HOLD, held, nearest)
    return np.asarray(nearest.reshape(cells.shape[:2]), np.uint8)


def _without_strays(shown: NDArray[np.uint8], differences: Lab, calm: Mask) -> NDArray[np.uint8]:
    """Give single cells that differ a little from all around them their neighbours' colour, on calm ground."""
    padded = np.pad(shown, 1, mode="edge")
    left, right, up, down = padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]
    around = np.where(left == right, left, up)
    alike = ((left == right) & ((up == left) | (down == left))) | ((up == down) & ((left == up) | (right == up)))
    alone = (shown != left) & (shown != right) & (shown != up) & (shown != down)
    return np.asarray(np.where(calm & alone & alike & (differences[shown, around] < STRAY), around, shown), np.uint8)


def _texture(light: Lab) -> Lab:
    """Return how textured the surroundings of every cell are, 0-1, from L (rows, columns)."""
    differing = (np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.0)) > DETAIL).astype(np.float32)
    amount = np.clip((cv2.GaussianBlur(differing, (0, 0), 2.5) - CALM) / (TEXTURED - CALM), 0, 1)
    return np.asarray(amount * amount * (3 - 2 * amount), np.float32)


def _dither(light: Lab) -> Lab:
    """Return what an ordered dither adds to L (rows, columns): fixed to the grid, so that the pattern does not move."""
    rows, columns = light.shape
    threshold = (np.tile(_BAYER, (-(-rows // 4), -(-columns // 4)))[:rows, :columns] + 0.5) / 16 - 0.5
    return np.asarray(DITHER * np.clip(light / DITHER_FROM, 0.2, 1) * threshold, np.float32)


def _to_rgb(palette: Lab) -> Image:
    rgb = cv2.cvtColor(palette[None], cv2.COLOR_LAB2RGB)[0]
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), np.uint8)
