"""Parts of a picture along drawn paths: where they go, what stays, and what is seen where they were."""

import cv2
import numpy as np
import pytest

from services.creation.effects.cut_out import cut_out
from services.creation.effects.drag import Drag
from services.creation.effects.fill import fill_hole
from shared.arrays import Image

GROUND = (90, 140, 200)


@pytest.fixture(scope="module")
def ball() -> Image:
    """A red ball on a sky that becomes lighter downwards."""
    down = np.linspace(-30, 30, 180)[:, None, None]
    picture = np.clip(np.array(GROUND) + down + np.zeros((180, 320, 3)), 0, 255).astype(np.uint8)
    cv2.circle(picture, (80, 90), 14, (210, 40, 30), -1, cv2.LINE_AA)
    return picture


@pytest.fixture(scope="module")
def texture() -> Image:
    random = np.random.default_rng(0)
    noise = sum(
        cv2.resize(random.normal(size=(n, n, 3)), (320, 180), interpolation=cv2.INTER_CUBIC) for n in (6, 18, 50)
    )
    return np.asarray(np.clip(128 + 40 * np.asarray(noise), 0, 255), np.uint8)


def red_at(picture: Image) -> tuple[float, float, int]:
    """Return the middle of what is red, and how many pixels are."""
    red = picture[..., 0].astype(int) - picture[..., 2] > 60
    rows, columns = np.nonzero(red)
    return float(columns.mean()), float(rows.mean()), int(red.sum())


def flow(before: Image, after: Image, points: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> np.ndarray:
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
    there, found, _ = cv2.calcOpticalFlowPyrLK(grey[0], grey[1], points, points.copy(), winSize=(31, 31), maxLevel=4)
    assert found.all()
    return np.asarray(there - points)


def test_a_thing_that_stands_free_follows_its_path_unchanged(ball: Image) -> None:
    drag = Drag(ball, [np.array([[80.0, 90.0], [200.0, 90.0], [200.0, 50.0]])])
    area = red_at(ball)[2]
    for time, place in ((0, (80, 90)), (0.5, (160, 90)), (1, (200, 50))):
        x, y, seen = red_at(drag.frame(time))
        assert abs(x - place[0]) < 1
        assert abs(y - place[1]) < 1
        assert abs(seen - area) < 0.05 * area


def test_where_a_thing_was_the_ground_goes_on(ball: Image) -> None:
    last = Drag(ball, [np.array([[80.0, 90.0], [220.0, 60.0]])]).frame(1)
    ground = ball[:, :1].astype(int)
    assert np.abs(last[70:111, 60:101].astype(int) - ground[70:111]).max() <= 3


def test_the_first_frame_is_the_picture(ball: Image, texture: Image) -> None:
    for picture in (ball, texture):
        first = Drag(picture, [np.array([[80.0, 90.0], [200.0, 90.0]])]).frame(0)
        assert np.abs(first.astype(int) - picture).max() <= 3


def test_a_part_of_something_larger_is_bent_and_what_is_far_stays(texture: Image) -> None:
    assert cut_out(texture, np.array([120.0, 90.0])) is None
    drag = Drag(texture, [np.array([[120.0, 90.0], [144.0, 80.0]])])
    near, far = flow(texture, drag.frame(1), np.array([[[120, 90]], [[290, 150]]], np.float32))[:, 0]
    assert np.abs(near - (24, -10)).max() < 1.5
    assert np.abs(far).max() < 0.2


@pytest.mark.parametrize("end", [(280.0, 90.0), (120.0, 10.0), (20.0, 170.0)])
def test_no_bend_folds(end: tuple[float, float]) -> None:
    """Over a picture that is a slope, a fold would be a slope the other way."""
    across, down = np.meshgrid(np.linspace(0, 255, 320), np.linspace(0, 255, 180))
    slope = np.stack([across, down, down], axis=-1).astype(np.uint8)
    moved = Drag(slope, [np.array([[120.0, 90.0], end])]).frame(1).astype(int)
    assert np.diff(moved[..., 0], axis=1)[:, 8:-8].min() >= -2
    assert np.diff(moved[..., 1], axis=0)[8:-8].min() >= -2


def test_a_path_of_one_point_holds_its_place_still(texture: Image) -> None:
    path, pin = np.array([[120.0, 90.0], [150.0, 90.0]]), np.array([[150.0, 110.0]])
    loose, held = (
        np.abs(flow(texture, Drag(texture, paths).frame(1), np.array([[[150, 110]]], np.float32))).max()
        for paths in ([path], [path, pin])
    )
    assert held < 0.6 * loose


def test_a_hole_is_filled_with_the_texture_around_it() -> None:
    across, down = np.meshgrid(np.arange(160), np.arange(120))
    stripes = np.where((across + down) // 8 % 2, 200, 60).astype(np.uint8)
    picture = np.dstack([stripes] * 3)
    hole = np.zeros(picture.shape[:2], bool)
    hole[50:74, 60:90] = True
    damaged = picture.copy()
    damaged[hole] = 0
    filled = fill_hole(damaged, hole)
    assert np.abs(filled[hole].astype(int) - picture[hole]).mean() < 20
    assert np.array_equal(filled[~hole], picture[~hole])


def test_a_picture_that_is_nearly_all_hole_is_filled_too() -> None:
    picture = np.full((40, 60, 3), 120, np.uint8)
    hole = np.ones((40, 60), bool)
    hole[:2] = False
    assert np.abs(fill_hole(picture, hole).astype(int) - 120).max() <= 2
