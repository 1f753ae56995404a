"""Sharpness: a source is blurred or sharpened until its lines are as sharp as the target's, however dark they are."""

from functools import cache

import cv2
import numpy as np
import pytest

from services.facefusion.classic import to_lab
from services.facefusion.face import Float
from services.facefusion.grain import features
from services.facefusion.mesh import from_atlas, rasterise
from services.facefusion.sharpness import Sharpness, detail, sharpness
from tests.support.faces import largest, woman


@cache
def face() -> tuple[Float, Float, Float]:
    """Lightness of the woman's face, where it is seen, and where its lines are (h, w)."""
    region = rasterise(largest(woman()).landmarks, woman().shape[:2])
    assert region is not None
    width, height = region.size
    part = woman()[region.y : region.y + height, region.x : region.x + width]
    lines = np.ascontiguousarray(from_atlas(features(), region)[..., 0])
    return np.ascontiguousarray(to_lab(part)[..., 0]), region.covered.astype(np.float32), lines


@pytest.mark.parametrize("blur", [1.0, 2.0, 3.0])
def test_a_source_is_blurred_until_its_lines_are_as_soft_as_the_targets(blur: float) -> None:
    plane, shown, lines = face()
    softer = np.asarray(cv2.GaussianBlur(plane, (0, 0), blur), np.float32)
    wanted = sharpness(detail(plane, softer, shown, lines, 1.0), 1)
    assert wanted.blur == pytest.approx(blur, rel=0.4)
    assert wanted.gain == 1
    wanted = sharpness(detail(softer, plane, shown, lines, 1.0), 1)
    assert wanted.blur == 0
    assert wanted.gain > 1.5
    assert wanted.width == pytest.approx(blur, rel=0.4)


def test_a_face_with_paler_lines_is_no_softer_face() -> None:
    plane, shown, lines = face()
    wanted = sharpness(detail(plane, plane * np.float32(0.4), shown, lines, 1.0), 1)
    assert wanted.blur < 0.1
    assert wanted.gain == 1
    assert sharpness(detail(plane * np.float32(0.4), plane, shown, lines, 1.0), 2.5).gain == pytest.approx(1, abs=0.01)


def test_grain_on_the_skin_is_no_sharpness_of_the_lines() -> None:
    plane, shown, lines = face()
    grain = np.random.default_rng(5).normal(0, 0.5, plane.shape).astype(np.float32)
    wanted = sharpness(detail(plane, plane + grain, shown, lines, 1.0), 1)
    assert wanted.blur < 0.3
    assert wanted.gain < 1.1


def test_a_flat_picture_has_no_detail() -> None:
    flat = np.full((40, 40), 50, np.float32)
    half = np.zeros_like(flat)
    half[:20] = 1
    assert detail(flat, flat, np.ones_like(flat), half, 1.0) is None
    assert detail(flat, flat, 0 * flat, half, 1.0) is None
    assert sharpness(None, 1) == Sharpness()
