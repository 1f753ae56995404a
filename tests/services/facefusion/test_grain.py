"""Texture: the new skin has the target's grain and blur, wherever the face lies and however large it is."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from services.facefusion.classic import ClassicSwapper
from services.facefusion.grain import PIXELS_A_SIGMA, Reduced, fine
from services.facefusion.sharpness import Sharpness
from services.facefusion.swapper import Patch, View, paste
from shared import weights
from shared.arrays import Image
from tests.support.faces import largest, man, read, woman

Plane = npt.NDArray[np.float32]
FINE_BAND = 1 / 8  # cycles per pixel: what is above is grain, pores and noise


def fine_detail(image: npt.NDArray[Any]) -> Plane:
    """What is finer than `FINE_BAND` in the mean of the channels (H, W)."""
    grey = image.astype(np.float64).mean(2)
    frequencies = [np.fft.fftfreq(side) for side in grey.shape]
    high = np.hypot(frequencies[0][:, None], frequencies[1][None]) > FINE_BAND
    return np.asarray(np.fft.ifft2(np.fft.fft2(grey) * high).real, np.float32)


def scaled(image: Image, face_height: float) -> Image:
    """A picture in a size in which its face is so many pixels high."""
    factor = face_height / float(np.ptp(largest(image).landmarks[:, 1]))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=method), np.uint8)


@cache
def sharp() -> Image:
    """The man's photograph, with a face 400 pixels high."""
    return scaled(read(weights.path("picture-single-face")), 400)


@cache
def soft() -> Image:
    """The woman of a small clip, enlarged: a face 400 pixels high without fine detail."""
    return scaled(woman(), 400)


def grainy(image: Image, strength: float, seed: int = 1) -> Image:
    """A picture with the grain of a film, as wide as a pixel and a half."""
    white = np.random.default_rng(seed).normal(0, strength, image.shape[:2]).astype(np.float32)
    noise = np.asarray(cv2.GaussianBlur(white, (0, 0), 0.7) * 2, np.float32)
    return np.asarray(np.clip(image + noise[..., None], 0, 255), np.uint8)


def swapped(source: Image, target: Image, view: View) -> tuple[Image, npt.NDArray[np.bool_]]:
    """The target with the source's face, and where it is all the source's."""
    patch = ClassicSwapper().prepare(source, largest(source)).renderer()(target, view)
    assert patch is not None
    result, inside = target.copy(), np.zeros(target.shape[:2], bool)
    paste(result, patch)
    height, width = patch.mask.shape
    inside[patch.y : patch.y + height, patch.x : patch.x + width] = patch.mask > 0.9
    return result, inside


TARGETS: dict[
    str, tuple[Callable[[], Image], Callable[[], Image], float, float]
] = {  # source, target, and how much of the target's energy is left at least and at most
    "a photograph": (soft, sharp, 0.9, 1.2),
    "a grainy photograph": (soft, lambda: grainy(sharp(), 8), 0.9, 1.2),
    # The source has no such detail at its nose and lips, and the target's own lines are left out there.
    "a clip with more detail than the source": (sharp, soft, 0.65, 1.2),
    "a grainy clip with more detail than the source": (sharp, lambda: grainy(soft(), 8), 0.87, 1.2),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_face_of_400_pixels_keeps_the_fine_detail_of_its_picture(name: str) -> None:
    source, target, least, most = TARGETS[name]
    view = largest(target())
    result, inside = swapped(source(), target(), view)
    before, after = (float((fine_detail(image)[inside] ** 2).sum()) for image in (target(), result))
    assert least <= after / before <= most
    assert np.abs(result.astype(int) - target())[inside].mean() > 4  # it is another face


def test_a_close_up_in_a_large_frame_is_no_softer_than_its_picture() -> None:
    """Its lines are painted in a picture five times smaller: what is finer than that comes from the frame."""
    target = grainy(scaled(np.ascontiguousarray(man()[40:340, 220:460]), 1000), 4)  # near the face, to be quick
    view = largest(target)
    result, inside = swapped(soft(), target, view)
    near = Reduced.of(target, view)
    assert near is not None
    assert near.factor >= 4
    before, after = (float((fine_detail(image)[inside] ** 2).sum()) for image in (target, result))
    assert 0.9 <= after / before <= 1.2


def test_a_sharp_source_is_softened_for_a_target_out_of_focus() -> None:
    target = np.asarray(cv2.GaussianBlur(sharp(), (0, 0), 3), np.uint8)
    result, inside = swapped(soft(), target, largest(target))
    left, own, sources = (float((fine_detail(image)[inside] ** 2).sum()) for image in (result, target, sharp()))
    assert left - own < 0.1 * sources


def test_grain_moves_as_the_grain_of_the_target_does() -> None:
    view = largest(soft())
    frames = [grainy(soft(), 6, seed) for seed in (1, 2)]
    renderer = ClassicSwapper().prepare(sharp(), largest(sharp())).renderer()
    changes, inside = [], np.zeros(soft().shape[:2], bool)
    for image, fresh in zip(frames, (True, False), strict=True):
        patch = renderer(image, replace(view, fresh=fresh))
        assert patch is not None
        changed = image.copy()
        paste(changed, patch)
        changes.append(changed)
        inside[patch.y : patch.y + patch.mask.shape[0], patch.x : patch.x + patch.mask.shape[1]] = patch.mask > 0.9
    before, after = (
        float((fine_detail(one.astype(np.float32) - other)[inside] ** 2).mean()) for one, other in (frames, changes)
    )
    assert 0.7 * before < after < 1.1 * before


@pytest.mark.parametrize("height", [60, 150, 400, 700, 1500])
def test_the_painted_picture_has_as_many_pixels_as_the_features_need(height: int) -> None:
    view = largest(man())
    factor = height / float(np.ptp(view.landmarks[:, 1]))
    frame = np.zeros((int(360 * factor), int(640 * factor), 3), np.uint8)
    near = Reduced.of(frame, replace(view, landmarks=view.landmarks * np.float32(factor)))
    assert near is not None
    assert near.factor == max(int(PIXELS_A_SIGMA * fine(height)), 1)
    assert np.ptp(near.view.landmarks[:, 1]) <= 420
    assert near.image.shape[0] < np.ptp(near.view.landmarks[:, 1]) * 1.3 + 20


@pytest.mark.parametrize("shift", [(0, 0), (-120, 0), (213, 101), (-200, -90)])
def test_what_is_painted_in_the_small_picture_lies_in_the_frame_where_it_belongs(shift: tuple[int, int]) -> None:
    """The face of the frame may hang over the frame's edge, where sides need not divide by the factor."""
    frame = sharp()[: sharp().shape[0] // 2 * 2 - 1, : sharp().shape[1] // 2 * 2 - 1]
    view = largest(sharp())
    landmarks = view.landmarks + np.array([*shift, 0], np.float32)
    near = Reduced.of(frame, replace(view, landmarks=landmarks))
    assert near is not None
    assert near.factor == 2
    height, width = near.image.shape[:2]
    darker = near.image - np.float32(20)
    mask = np.zeros((height, width), np.float32)
    x, y = (int(value) for value in near.view.landmarks[4, :2])  # the tip of the nose
    x, y = min(max(x, 12), width - 12), min(max(y, 12), height - 12)
    mask[y - 8 : y + 9, x - 8 : x + 9] = 1

    patch = near.enlarged(Patch(0, 0, darker, mask), np.zeros((*mask.shape, 2), np.float32), Sharpness())

    assert patch.x + patch.mask.shape[1] <= frame.shape[1]
    assert patch.y + patch.mask.shape[0] <= frame.shape[0]
    rows, columns = np.nonzero(patch.mask > 0.5)
    centre = np.array([columns.mean() + patch.x, rows.mean() + patch.y])
    wanted = (np.array([x, y]) + 0.5) * 2 - 0.5 + np.array(near.corner)
    assert centre == pytest.approx(wanted, abs=0.3)
    part = frame[patch.y : patch.y + patch.mask.shape[0], patch.x : patch.x + patch.mask.shape[1]]
    inside = (patch.mask == 1) & (part.min(2) > 30)
    assert float((patch.pixels - part)[inside].mean()) == pytest.approx(-20, abs=1.5)
