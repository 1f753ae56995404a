"""Chips are cut out and taken back to exactly where they came from."""

from dataclasses import replace

import numpy as np
import pytest

from services.facefusion.face import Face, Float
from services.facefusion.restoration.chip import Alignment, border_fade
from services.facefusion.restoration.restorers import FFHQ_512
from services.facefusion.swapper import Patch
from tests.support.restorers import GFPGAN

WAVES = 40.0  # pixels of a wave in the frame: well above what any of the scales loses


def face_at(scale: float, angle: float = 0.0, corner: tuple[float, float] = (30, 20)) -> Face:
    """A face whose chip lies in the frame at a corner, turned, `scale` times as large as 512 pixels."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    points = np.asarray((FFHQ_512 * scale) @ turn.T + np.array(corner, np.float32), np.float32)
    return Face(np.array([0, 0, 1, 1], np.float32), points, 1.0)


def waves(height: int, width: int) -> Float:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(np.dstack([x * 0, np.sin(x / WAVES * 6.28), np.cos(y / WAVES * 6.28)]) * 100 + 120, np.float32)


@pytest.mark.parametrize("scale", [0.2, 0.9, 1.5, 3.0])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_what_is_cut_out_comes_back_to_its_place(scale: float, angle: float) -> None:
    """At a fifth of the chip's size as at three times of it, where pixels are averaged on one of the two ways."""
    side = int(512 * scale)
    frame = waves(side + 100, side + 100).astype(np.uint8)
    alignment = Alignment.of(face_at(scale, angle, (30 + angle * side / 2, 20)), GFPGAN)
    shape = frame.shape[:2]
    whole = Patch(0, 0, np.zeros((*shape, 3), np.float32), np.ones(shape, np.float32))

    chip = alignment.cut(frame, None)
    back = alignment.back(chip, whole)

    inside = alignment.back(np.ones_like(chip), whole)[..., 0] > 0.999
    assert inside.sum() > 0.5 * side * side
    assert np.abs(back - frame)[inside].mean() < 3  # of 100, the height of a wave
    assert not back[alignment.back(np.ones_like(chip), whole)[..., 0] == 0].any()


def test_a_patch_lies_in_the_chip_where_it_lies_in_the_frame() -> None:
    frame = waves(600, 600).astype(np.uint8)
    alignment = Alignment.of(face_at(0.9), GFPGAN)
    pixels = np.full((100, 120, 3), 255, np.float32)
    mask = np.full((100, 120), 0.5, np.float32)
    pasted = frame.copy()
    pasted[200:300, 180:300] = np.rint(0.5 * frame[200:300, 180:300] + 127.5)

    found = alignment.cut(frame, Patch(180, 200, pixels, mask))

    assert np.abs(found - alignment.cut(pasted, None)).mean() < 0.5
    assert np.abs(found - alignment.cut(frame, None)).mean() > 1


def test_a_part_of_the_frame_gets_what_the_whole_would_get() -> None:
    alignment = Alignment.of(face_at(0.6, 0.2), GFPGAN)
    detail = np.random.default_rng(2).normal(size=(512, 512, 3)).astype(np.float32)
    whole = Patch(0, 0, np.zeros((400, 400, 3), np.float32), np.ones((400, 400), np.float32))
    part = replace(whole, x=70, y=90, mask=np.ones((150, 110), np.float32))
    expected = alignment.back(detail, whole)[90:240, 70:180]
    assert alignment.back(detail, part) == pytest.approx(expected, abs=0.15)  # OpenCV places to a 32nd of a pixel


def test_a_face_at_the_border_of_the_frame_is_cut_out_all_the_same() -> None:
    frame = waves(300, 300).astype(np.uint8)
    for scale, corner in ((0.5, (-150, -100)), (3.0, (-900, 100)), (3.0, (2000, 2000))):
        chip = Alignment.of(face_at(scale, corner=corner), GFPGAN).cut(frame, None)
        assert chip.shape == (512, 512, 3)
        assert np.isfinite(chip).all()


def test_a_chip_fades_at_its_border_alone() -> None:
    fade = border_fade(512)[..., 0]
    assert fade[256, 256] == 1
    assert fade[0].max() < 0.05
    assert fade[:, -1].max() < 0.05
    assert (fade[60:-60, 60:-60] == 1).all()
