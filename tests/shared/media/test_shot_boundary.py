"""Cuts: a new shot is seen at once; pans, fades, flashes and frantic cameras are not one."""

import itertools
from collections.abc import Iterator
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from shared import weights
from shared.media.shot_boundary import CutDetector, reduced

Image = npt.NDArray[Any]
CLIPS = ("clip-bigbuckbunny", "clip-carphone", "clip-single-face", "clip-no-face")


def shot(name: str, *, every: int = 1, count: int = 60) -> list[Image]:
    def pictures() -> Iterator[Image]:
        with av.open(weights.path(name)) as container:
            for frame in itertools.islice(container.decode(video=0), 0, every * count, every):
                yield frame.reformat(256, 144, "rgb24").to_ndarray()

    return list(pictures())


def cuts(frames: list[Image]) -> list[int]:
    """Numbers of the frames with which a shot begins."""
    detector = CutDetector()
    return [place + 1 for place, pair in enumerate(itertools.pairwise(frames)) if detector.is_cut(*pair)]


@pytest.mark.parametrize("name", CLIPS)
def test_a_real_shot_has_no_cut_even_at_a_quarter_of_its_frames(name: str) -> None:
    assert cuts(shot(name)) == []
    assert cuts(shot(name, every=4, count=16)) == []


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(CLIPS, 2)))
def test_two_real_shots_are_told_apart(before: str, after: str) -> None:
    assert cuts(shot(before, count=6) + shot(after, count=6)) == [6]


def test_every_shot_of_a_single_frame_is_one() -> None:
    frames = [shot(name, count=1)[0] for name in CLIPS]
    assert cuts(frames) == [1, 2, 3]


def test_the_same_shot_in_another_light_goes_on() -> None:
    """A flash and a fade change the brightness, not the picture."""
    frames = shot("clip-bigbuckbunny", count=4)
    flash = [frames[0], np.clip(frames[1] * 1.6 + 30, 0, 255).astype(np.uint8), frames[2]]
    fade = [(frames[0] * share).astype(np.uint8) for share in (1, 0.75, 0.5, 0.25, 0.1, 0.03, 0)]
    assert cuts(flash) == []
    assert cuts(fade) == []


def test_a_fast_pan_is_no_cut() -> None:
    wide = cv2.resize(shot("clip-bigbuckbunny", count=1)[0], (768, 432), interpolation=cv2.INTER_CUBIC)
    pan = [np.ascontiguousarray(wide[100:316, left : left + 384]) for left in range(0, 300, 40)]  # a tenth a frame
    assert cuts(pan) == []


def test_black_before_a_picture_is_another_shot() -> None:
    picture = shot("clip-bigbuckbunny", count=1)[0]
    assert cuts([np.zeros_like(picture), picture]) == [1]


def test_a_picture_after_a_long_black_is_another_shot() -> None:
    picture = shot("clip-carphone", count=1)[0]
    assert cuts([*[np.zeros_like(picture)] * 3, picture, picture]) == [3]


def test_depth_does_not_matter() -> None:
    first, second = (shot(name, count=1)[0] for name in CLIPS[:2])
    assert cuts([image.astype(np.uint16) * 257 for image in (first, first, second)]) == [2]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_detector_that_goes_on_from_a_reduced_picture_judges_as_one_that_saw_it(depth: type[np.generic]) -> None:
    frames = [
        frame.astype(depth) * (257 if depth is np.uint16 else 1) for name in CLIPS for frame in shot(name, count=3)
    ]
    detector = CutDetector()
    for before, after in itertools.pairwise(frames):
        successor = CutDetector(detector.usual)
        assert successor.is_cut(reduced(before), after) == detector.is_cut(before, after)
        assert successor.usual == detector.usual
