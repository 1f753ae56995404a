"""Videos longer than one run: every frame once, in order, and no visible joint."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from services.creation.engine import Windows
from services.creation.engines.wan.windows import OVERLAP, crossfade, in_windows
from shared.arrays import Image

WINDOW = 33


def numbered(count: int) -> list[Image]:
    return [np.full((2, 2, 3), index, np.uint8) for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 9, 12, 33, 34, 57, 58, 81, 100])
def test_every_source_frame_gets_its_frame_and_every_window_a_length_that_a_run_can_have(count: int) -> None:
    lengths = []

    def generate(source: Sequence[Image], before: Sequence[Image]) -> Sequence[Image]:
        lengths.append(len(source))
        assert len(before) == (0 if len(lengths) == 1 else OVERLAP)
        assert all((old == frame).all() for old, frame in zip(before, source, strict=False))
        return list(source)

    frames = list(in_windows(iter(numbered(count)), WINDOW, generate))
    assert [int(frame[0, 0, 0]) for frame in frames] == list(range(count))
    assert all(length % 4 == 1 and length <= WINDOW for length in lengths)
    assert len(lengths) == Windows(16, WINDOW, WINDOW - OVERLAP).count(count)


def test_no_more_than_a_window_is_asked_for_ahead_of_what_was_made() -> None:
    taken = 0

    def source() -> Iterator[Image]:
        nonlocal taken
        for frame in numbered(200):
            taken += 1
            yield frame

    frames = in_windows(source(), WINDOW, lambda some, _before: list(some))
    next(frames)
    assert taken <= 2 * WINDOW


def test_one_window_fades_into_the_next_in_even_steps() -> None:
    dark, bright = [np.zeros((2, 2, 3), np.uint8)] * OVERLAP, [np.full((2, 2, 3), 200, np.uint8)] * (OVERLAP + 3)
    levels = [int(frame[0, 0, 0]) for frame in crossfade(dark, bright)]
    assert levels == [20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 200, 200]


def test_a_joint_is_no_outlier_even_between_windows_that_do_not_depend_on_each_other() -> None:
    """Two waves of another phase and brightness: a hard joint jumps by a multiple of what any other frame does."""
    across = np.arange(64)

    def wave(index: int, shift: float) -> Image:
        line = 120 + shift + 60 * np.sin((across + 1.5 * index + shift) / 6)
        return np.repeat(np.tile(line, (48, 1))[..., None], 3, axis=2).astype(np.uint8)

    shifts = iter((0.0, 9.0, -2.0, 7.0))
    starts = iter((0, 24, 48, 72))

    def generate(source: Sequence[Image], _before: Sequence[Image]) -> Sequence[Image]:
        start, shift = next(starts), next(shifts)
        return [wave(start + index, shift) for index in range(len(source))]

    frames = np.stack(list(in_windows(numbered(100), WINDOW, generate))).astype(float)
    change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert change.max() < 1.5 * np.median(change)
    hard = np.abs(wave(24, 9.0).astype(float) - wave(23, 0.0)).mean()
    assert hard > 3 * np.median(change)
