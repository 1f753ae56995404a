"""Another frame rate, by the clock: real motion, never a relabelled rate."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from services.creation.source_frames import resample
from shared.arrays import Image
from shared.media.frame import Frame

MILLISECONDS = Fraction(1, 1000)


def ramp(pts: list[int], last: int) -> Iterator[tuple[Image, Frame]]:
    """Pictures of one place whose first pixel says when they were taken: one level a 20 ms."""
    place = np.random.default_rng(1).integers(0, 256, (36, 64, 3), dtype=np.uint8)
    for index, start in enumerate(pts):
        end = pts[index + 1] if index + 1 < len(pts) else start + last
        image = place.copy()
        image[0, 0] = start / 20
        yield image, Frame(image, start, end - start)


def blend(first: Image, second: Image, position: float) -> Image:
    return np.asarray(first + position * (second.astype(float) - first), np.uint8)


def instants(pts: list[int], last: int, rate: int) -> list[float]:
    """What a resampled ramp shows, in seconds."""
    return [float(image[0, 0, 0]) * 0.02 for image in resample(ramp(pts, last), MILLISECONDS, rate, blend)]


@pytest.mark.parametrize("source", [5, 10, 12, 24, 25, 30, 60])
@pytest.mark.parametrize("rate", [8, 12, 24])
def test_every_frame_shows_its_own_instant(source: int, rate: int) -> None:
    pts = [index * 1000 // source for index in range(3 * source)]
    shown = instants(pts, 1000 // source, rate)
    assert abs(len(shown) - 3 * rate) <= 1
    tolerance = 0.5 / source + 0.021
    for index, instant in enumerate(shown[: 3 * rate - rate // source - 1]):
        assert abs(instant - index / rate) <= tolerance


def test_frames_that_a_slow_video_lacks_are_made_between_its_own() -> None:
    assert instants([0, 100, 200], 100, 20) == pytest.approx([0, 0.04, 0.1, 0.14, 0.2, 0.2], abs=0.021)


def test_a_fast_video_only_loses_frames() -> None:
    def never(first: Image, second: Image, position: float) -> Image:
        raise AssertionError(first, second, position)

    pts = list(range(0, 1000, 20))
    assert len(list(resample(ramp(pts, 20), MILLISECONDS, 24, never))) == 24


def test_a_picture_that_stands_is_not_melted_into_the_next_one() -> None:
    shown = instants([0, 1000, 1040, 1080], 40, 24)
    assert set(shown[:24]) == {0}


def test_a_track_that_begins_late_shows_its_first_picture_until_then() -> None:
    assert instants([200, 240], 40, 10)[0] == pytest.approx(0.2)


def test_nothing_is_made_up_across_a_cut() -> None:
    night, day = np.full((36, 64, 3), 20, np.uint8), np.full((36, 64, 3), 220, np.uint8)
    pair = ((image, Frame(image, pts, 100)) for image, pts in ((night, 0), (day, 100)))
    shown = list(resample(pair, MILLISECONDS, 24, blend))
    assert {int(image.mean()) for image in shown} == {20, 220}


def test_no_frames_give_none() -> None:
    assert list(resample(iter(()), MILLISECONDS, 24, blend)) == []
