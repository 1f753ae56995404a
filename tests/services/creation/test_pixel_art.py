"""Pixel art by its rules: how large its cells are, where it dithers, and what gets an outline."""

from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import pytest

from services.creation.aspect import size_for
from services.creation.effects.outlines import outlines
from services.creation.effects.pixel_art import choose_palette, pixelate
from services.creation.effects.pixel_grid import cell_side, to_cells
from services.creation.engines.classic.engine import FRAME_AREA
from shared.arrays import Image

SIZE = (1024, 576)
SIDE = cell_side(*SIZE)
SKY = (120, 170, 235), (205, 225, 245)
SKIN = (150, 100, 80), (235, 190, 165)


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int], *, noise: float = 0.0) -> Image:
    """Return a picture that goes from one colour down to another, with a sensor's noise."""
    share = np.linspace(0, 1, SIZE[1])[:, None, None]
    picture = np.broadcast_to(np.array(top) * (1 - share) + np.array(bottom) * share, (SIZE[1], SIZE[0], 3))
    return np.asarray(np.clip(picture + np.random.default_rng(1).normal(0, noise, picture.shape), 0, 255), np.uint8)


def disc(colour: tuple[int, int, int], ground: Image) -> Image:
    """Return `ground` with a disc in its middle."""
    return np.asarray(cv2.circle(ground.copy(), (SIZE[0] // 2, SIZE[1] // 2), 150, colour, -1, cv2.LINE_AA), np.uint8)


def grass() -> Image:
    """Return a field of short blades in all tones of green."""
    random = np.random.default_rng(2)
    picture = np.full((SIZE[1], SIZE[0], 3), (60, 110, 40), np.uint8)
    for _ in range(6000):
        x, y = int(random.integers(SIZE[0])), int(random.integers(SIZE[1]))
        green = int(random.integers(50, 200))
        cv2.line(picture, (x, y), (x + int(random.integers(-6, 7)), y - 14), (green // 2, green, green // 3), 2)
    return picture


def drawn(picture: Image) -> Image:
    """Return the cells (rows, columns, 3) of a picture in pixel art."""
    frame = next(pixelate([picture], choose_palette([picture], 3)))
    return frame[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE]


def speckled(cells: Image) -> float:
    """Return the share of the cells that differ from the ones on their left and right, which are alike."""
    left, middle, right = cells[:, :-2], cells[:, 1:-1], cells[:, 2:]
    return float(((left == right).all(axis=-1) & (left != middle).any(axis=-1)).mean())


@pytest.mark.parametrize(
    ("size", "side"),
    [((1024, 576), 8), ((832, 480), 4), ((320, 192), 4), ((1280, 720), 8), ((1920, 1088), 16)],
)
def test_a_cell_is_as_large_as_the_picture_asks_for(size: tuple[int, int], side: int) -> None:
    assert cell_side(*size) == side


@pytest.mark.parametrize("ratio", [0.4, 0.5625, 0.8, 1.0, 4 / 3, 1.78, 2.5])
def test_every_shape_of_a_clip_has_cells_of_one_size(ratio: float) -> None:
    size = size_for(Fraction(ratio), FRAME_AREA)
    assert cell_side(*size) == 8
    assert size[0] % 8 == size[1] % 8 == 0


@pytest.mark.parametrize("colours", [SKY, SKIN], ids=["sky", "skin"])
def test_a_smooth_gradient_is_drawn_in_bands_without_dither(colours: tuple[tuple[int, int, int], ...]) -> None:
    cells = drawn(gradient(*colours, noise=2.0))
    assert len(np.unique(cells.reshape(-1, 3), axis=0)) > 3
    assert speckled(cells) < 0.002


def test_only_what_is_textured_gets_dither() -> None:
    palette = np.array([[30.0, 0, 0], [50.0, 0, 0], [60.0, 0, 0]], np.float32)
    random = np.random.default_rng(4)
    smooth = np.full((SIZE[1], SIZE[0], 3), 126, np.uint8)  # L 53: nearer to 50
    textured = smooth + random.choice(np.array([-5, 5]), (SIZE[1] // SIDE, SIZE[0] // SIDE, 1)).repeat(SIDE, 0).repeat(
        SIDE, 1
    ).astype(np.uint8)
    assert len(np.unique(next(pixelate([smooth], palette)))) == 1
    assert len(np.unique(next(pixelate([textured], palette)))) == 2


@pytest.mark.parametrize("colour", [(110, 60, 40), (250, 235, 120)], ids=["darker", "brighter"])
def test_a_figure_has_one_closed_outline_one_cell_wide(colour: tuple[int, int, int]) -> None:
    found = outlines(to_cells(disc(colour, gradient(*SKY, noise=2.0))), None)
    rows, columns = np.nonzero(found)
    down, across = rows - (SIZE[1] / SIDE - 1) / 2, columns - (SIZE[0] / SIDE - 1) / 2
    assert np.abs(np.hypot(down, across) - 150 / SIDE).max() < 2
    turns = np.unique(np.floor(np.arctan2(down, across) * 36 / np.pi))
    assert len(turns) >= 70, "all around, but for a few of 72 directions"
    filled = found[:-1, :-1].astype(int) + found[1:, :-1] + found[:-1, 1:] + found[1:, 1:]
    assert (filled > 2).sum() <= 2, "but where two of its pieces meet"


def test_an_outline_is_darker_than_what_it_surrounds() -> None:
    picture = disc((170, 110, 80), gradient(*SKY))
    found = outlines(to_cells(picture), None)
    cells = drawn(picture).mean(axis=-1)
    inside = cells[SIZE[1] // SIDE // 2, SIZE[0] // SIDE // 2]
    assert np.median(cells[found]) < 0.75 * inside


@pytest.mark.parametrize("picture", [gradient(*SKY, noise=2.0), gradient(*SKIN, noise=2.0), grass()])
def test_plain_ground_and_grass_have_no_outlines(picture: Image) -> None:
    assert outlines(to_cells(picture), None).mean() < 0.002


def test_an_outline_stays_while_its_contrast_wavers() -> None:
    ground = np.full((SIZE[1], SIZE[0], 3), 150, np.uint8)
    clear, faint = (to_cells(disc((grey, grey, grey), ground)) for grey in (70, 113))
    first = outlines(clear, None)
    assert not outlines(faint, None).any()
    assert (outlines(faint, first) == first).mean() > 0.99
    assert outlines(faint, first).any()


def test_pixel_art_of_a_noisy_still_does_not_change() -> None:
    random = np.random.default_rng(5)
    picture = disc((110, 60, 40), gradient(*SKY)).astype(float)
    frames = [np.asarray(np.clip(picture + random.normal(0, 3, picture.shape), 0, 255), np.uint8) for _ in range(6)]
    shown = [frame[::SIDE, ::SIDE] for frame in pixelate(frames, choose_palette(frames[:2], 3))]
    changed = [(one != other).any(axis=-1).mean() for one, other in pairwise(shown)]
    assert max(changed) < 0.011
