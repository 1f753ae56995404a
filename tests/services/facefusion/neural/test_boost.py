"""Pixel boost: sub-images that interleave, and how many of them a face gets."""

import numpy as np
import pytest

from services.facefusion.neural.boost import enlarged, factor_for, put_together, take_apart


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_chip_comes_back_together_as_it_was(factor: int) -> None:
    chip = np.random.default_rng(5).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    parts = take_apart(chip, factor)
    assert parts.shape == (factor * factor, 64 // factor, 64 // factor, 3)
    assert np.array_equal(put_together(parts, factor), chip)


def test_each_part_shows_every_other_pixel_from_its_own_corner() -> None:
    chip = np.random.default_rng(6).uniform(0, 255, (32, 32, 3)).astype(np.float32)
    parts = take_apart(chip, 2)
    for row in range(2):
        for column in range(2):
            assert np.array_equal(parts[row * 2 + column], chip[row::2, column::2])


def test_the_parts_lie_around_what_a_chip_without_boost_shows() -> None:
    """A pixel of the small chip is the middle of the pixels that it becomes."""
    small = np.array([[0.5, 0.0, -10.0], [0.0, 0.5, -20.0]])
    large = enlarged(small, 4)
    frame = np.array([120.0, 90.0, 1.0])
    assert large @ frame == pytest.approx(4 * (small @ frame) + 1.5)


def scaled(frame_pixels: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The transform to a chip of which a pixel covers so many of the frame's."""
    return np.array([[1 / frame_pixels, 0, 3], [0, 1 / frame_pixels, 4]], np.float64)


@pytest.mark.parametrize(("frame_pixels", "factor"), [(0.3, 1), (1, 1), (1.2, 1), (1.6, 2), (2.4, 2), (3, 4), (9, 4)])
def test_a_face_gets_as_many_as_it_has_pixels_for(frame_pixels: float, factor: int) -> None:
    assert factor_for("auto", scaled(frame_pixels), 128) == factor


def test_a_chip_is_never_larger_than_1024_pixels() -> None:
    assert factor_for("auto", scaled(9), 256) == 4
    assert factor_for("auto", scaled(9), 512) == 2
    assert factor_for("4", scaled(1), 512) == 2


def test_a_fixed_factor_does_not_follow_the_face() -> None:
    assert [factor_for("2", scaled(size), 128, before=4) for size in (0.2, 1, 9)] == [2, 2, 2]


def test_a_face_whose_size_wavers_keeps_its_factor() -> None:
    factor: int | None = None
    seen = []
    for frame_pixels in (1.20, 1.28, 1.22, 1.33, 1.24, 1.60, 1.30, 1.20, 1.28, 1.00):
        factor = factor_for("auto", scaled(frame_pixels), 128, factor)
        seen.append(factor)
    assert seen == [1, 1, 1, 1, 1, 2, 2, 2, 2, 1]
