"""The styles of a video, measured: grids and palettes, flat washes, no flicker where nothing moves."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from benchmarks.creation_frames import drawn as styled
from services.creation.effects.line_art import ink
from services.creation.effects.pixel_art import COLOURS
from services.creation.effects.pixel_grid import cell_side
from services.creation.request import ANIME, PIXEL, PLAIN
from shared import weights
from shared.arrays import Image

SIZE = (512, 288)
CELL = cell_side(*SIZE)
FRAMES = 16
NOISE = 3.0  # standard deviation of a camera's noise, in levels


@pytest.fixture(scope="module")
def moving() -> list[Image]:
    """Big Buck Bunny, waking."""
    return read("clip-bigbuckbunny")


@pytest.fixture(scope="module")
def talking() -> list[Image]:
    """A face, filmed with a hand-held camera."""
    return read("clip-single-face")


@pytest.fixture(scope="module")
def still(moving: list[Image]) -> list[Image]:
    """One picture with a sensor's noise: whatever changes in it is noise."""
    random = np.random.default_rng(0)
    picture = moving[8].astype(np.float32)
    return [
        np.asarray(np.clip(picture + random.normal(0, NOISE, picture.shape), 0, 255), np.uint8) for _ in range(FRAMES)
    ]


def read(name: str) -> list[Image]:
    capture = cv2.VideoCapture(str(weights.path(name)))
    pictures = [capture.read()[1] for _ in range(FRAMES)]
    small = (cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA) for picture in pictures)
    return [np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8) for picture in small]


def light(frame: Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)


def flicker(frames: list[Image]) -> float:
    """Mean change from frame to frame, once a filter with a memory has settled."""
    return float(np.mean([np.abs(light(b) - light(a)).mean() for a, b in pairwise(frames[6:])]))


def sparsity(frame: Image) -> float:
    """Hoyer's measure of the gradients: 0 where all are alike, 1 where a single one is not nothing."""
    grey = light(frame)
    gradients = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    root = np.sqrt(gradients.size)
    return float((root - gradients.sum() / np.sqrt((gradients**2).sum())) / (root - 1))


def likeness(one: Image, other: Image) -> float:
    """Correlation of the two pictures at a small size."""
    small = [cv2.resize(light(frame), (64, 36), interpolation=cv2.INTER_AREA).ravel() for frame in (one, other)]
    return float(np.asarray(np.corrcoef(np.array(small)))[0, 1])


def cells(frame: Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """The frame as (rows, columns, CELL * CELL, 3)."""
    rows, columns = frame.shape[0] // CELL, frame.shape[1] // CELL
    return frame.reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2).reshape(rows, columns, CELL * CELL, 3)


def grid_energy(frame: Image) -> float:
    """How much changes from one cell to the next, across the borders."""
    grey = light(frame)
    return float(
        np.abs(grey[:, CELL::CELL] - grey[:, CELL - 1 : -1 : CELL]).mean()
        + np.abs(grey[CELL::CELL] - grey[CELL - 1 : -1 : CELL]).mean()
    )


@pytest.mark.parametrize("name", ["moving", "talking"])
def test_pixel_art_has_flat_cells_few_colours_and_crisp_borders(name: str, request: pytest.FixtureRequest) -> None:
    source: list[Image] = request.getfixturevalue(name)
    drawn = styled(source, PIXEL)
    colours = np.unique(np.concatenate([frame[::CELL, ::CELL].reshape(-1, 3) for frame in drawn]), axis=0)
    assert len(colours) <= COLOURS <= 64
    for before, after in zip(source, drawn, strict=True):
        assert (cells(after) == cells(after)[:, :, :1]).all()
        assert grid_energy(after) >= grid_energy(before)


@pytest.mark.parametrize("name", ["still", "talking"])
def test_a_cell_of_pixel_art_changes_only_where_the_picture_does(name: str, request: pytest.FixtureRequest) -> None:
    source: list[Image] = request.getfixturevalue(name)
    drawn = np.stack([frame[::CELL, ::CELL] for frame in styled(source, PIXEL)])
    means = np.stack([cells(frame).mean(axis=2) for frame in source])
    static = np.abs(np.diff(means, axis=0)).max(axis=-1) < 2
    changed = (np.diff(drawn.astype(int), axis=0) != 0).any(axis=-1)
    assert static.mean() > 0.2
    assert changed[static].mean() < 0.02


def test_pixel_art_still_shows_what_was_filmed(moving: list[Image]) -> None:
    drawn = styled(moving, PIXEL)
    for before, after in zip(moving, drawn, strict=True):
        assert likeness(before, after) > 0.97


@pytest.mark.parametrize("name", ["moving", "talking"])
def test_anime_flattens_what_is_between_the_lines(name: str, request: pytest.FixtureRequest) -> None:
    source: list[Image] = request.getfixturevalue(name)
    drawn = styled(source, ANIME)
    for before, after in zip(source, drawn, strict=True):
        assert sparsity(after) > 1.05 * sparsity(before)
        assert likeness(before, after) > 0.95
        assert np.abs(before.astype(int) - after).mean() > 4


@pytest.mark.parametrize("name", ["moving", "talking"])
def test_anime_keeps_the_range_of_tones(name: str, request: pytest.FixtureRequest) -> None:
    source: list[Image] = request.getfixturevalue(name)
    drawn = styled(source, ANIME)
    for before, after in zip(source[4:], drawn[4:], strict=True):
        # By 15 % of the source's own tone, and never less than what rounding and dithering make of near black.
        np.testing.assert_allclose(
            np.percentile(light(after), (5, 95)), np.percentile(light(before), (5, 95)), rtol=0.15, atol=2
        )


def test_one_stroke_is_drawn_and_a_field_of_short_ones_is_not() -> None:
    def inked(strokes: list[tuple[int, int]], length: int) -> int:
        picture = np.full((288, 512, 3), 0.8, np.float32)
        for column, row in strokes:
            cv2.line(picture, (column, row), (column, row + length), (0.2, 0.3, 0.2), 3, cv2.LINE_AA)
        return int((ink(picture) > 0.5).sum())

    assert inked([(250, 120)], 30) > 60  # an eyelid, a mouth
    assert inked([(column, row) for column in range(6, 506, 16) for row in range(6, 260, 24)], 12) == 0


def test_grass_gets_no_specks(moving: list[Image]) -> None:
    for frame in moving[::5]:
        count, _, boxes, _ = cv2.connectedComponentsWithStats(
            (ink(frame.astype(np.float32) / 255) > 0.3).astype(np.uint8)
        )
        specks = int((boxes[1:, cv2.CC_STAT_AREA] < 12).sum())
        assert specks <= 6 < count, (specks, count)


def test_anime_is_calmer_than_the_noise_of_its_source(still: list[Image]) -> None:
    assert flicker(styled(still, ANIME)) < 0.8 * flicker(still)


def test_the_plain_style_takes_noise_out_and_keeps_the_picture(still: list[Image], moving: list[Image]) -> None:
    assert flicker(styled(still, PLAIN)) < 0.6 * flicker(still)
    for before, after in zip(moving, styled(moving, PLAIN), strict=True):
        assert likeness(before, after) > 0.98
        assert light(after).std() >= light(before).std()


@pytest.mark.parametrize("style", [PLAIN, ANIME, PIXEL])
def test_a_seed_decides_the_look_of_a_style(moving: list[Image], style: int) -> None:
    one, again, other = (styled(moving[:6], style, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[-1], other[-1])


@pytest.mark.parametrize("style", [PLAIN, ANIME, PIXEL])
def test_a_frame_of_one_colour_stays_one(style: int) -> None:
    grey = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    drawn = styled([grey] * 3, style)[-1].astype(int)
    assert drawn.max() - drawn.min() <= 12
    assert abs(drawn.mean() - 90) < 25


def test_a_cut_leaves_no_ghost(moving: list[Image], talking: list[Image]) -> None:
    for style in (PLAIN, ANIME):
        after_cut = styled([*moving[:4], *talking[:4]], style)[4]
        alone = styled(talking[:4], style)[0]
        assert np.abs(after_cut.astype(int) - alone).mean() < 12
