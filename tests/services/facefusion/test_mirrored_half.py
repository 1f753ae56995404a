"""Sources that are turned to one side, whose other half the picture hides."""

from functools import cache

import cv2
import numpy as np
import pytest

from services.facefusion.classic import ClassicSwapper
from services.facefusion.face import Float
from services.facefusion.landmarks import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE
from services.facefusion.mesh import Mesh, atlas_numbers, to_atlas
from services.facefusion.mirrored_half import TURNED, detail_of, flattened, turn
from services.facefusion.swapper import View, paste
from shared.arrays import Image
from tests.support.faces import frames_of, largest, man, model, woman
from tests.support.turned_faces import turned

SIDE = 256


@cache
def front() -> View:
    return largest(woman())


def hidden(landmarks: Float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where in the atlas the face looks away from the camera."""
    numbers = atlas_numbers(SIDE)
    away = (detail_of(landmarks) == 0)[np.maximum(numbers, 0)] & (numbers >= 0)
    return np.asarray(cv2.erode(away.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)


def features(skin: Image) -> Float:
    """The lightness without what changes slowly: brows, lashes, lips, nostrils."""
    light = cv2.cvtColor(skin, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.GaussianBlur(light, (0, 0), 2) - cv2.GaussianBlur(light, (0, 0), 12)


def alike(one: Float, other: Float) -> float:
    """Correlation."""
    return float(np.corrcoef(one, other)[0, 1])


def lit_from_the_left(image: Image, view: View) -> Image:
    """A picture that is three times as light left of the face as right of it."""
    x = (np.arange(image.shape[1]) - view.landmarks[:, 0].mean()) / np.ptp(view.landmarks[:, 0])
    return np.asarray(image * (1 - 2 / 3 / (1 + np.exp(-5 * x)))[None, :, None], np.uint8)


def test_each_point_has_a_counterpart_which_has_it() -> None:
    mirrored = Mesh.load().mirrored
    assert np.array_equal(mirrored[mirrored], np.arange(468))
    assert mirrored[list(LEFT_EYE)].tolist() == list(RIGHT_EYE)
    assert mirrored[list(LEFT_BROW)].tolist() == list(RIGHT_BROW)
    assert mirrored[[1, 10, 152]].tolist() == [1, 10, 152]
    points = Mesh.load().points
    assert np.abs(points[mirrored][:, 0] + points[:, 0] - 0.992).max() < 0.02
    assert np.abs(points[mirrored][:, 1] - points[:, 1]).max() < 0.02


@pytest.mark.parametrize("degrees", [-50, -30, 30, 50])
def test_the_turn_is_the_one_of_the_head(degrees: float) -> None:
    _, view = turned(woman(), front(), degrees)
    assert turn(view.landmarks) == pytest.approx(turn(front().landmarks) - degrees, abs=3)


def test_faces_from_the_front_are_flattened_as_they_are() -> None:
    pictures = [man(), woman(), *frames_of("clip-woman-hands", count=397)[360:397:36]]
    assert max(abs(turn(largest(picture).landmarks)) for picture in pictures) > 0.6 * TURNED
    for picture in pictures:
        landmarks = largest(picture).landmarks
        face = flattened(picture, landmarks, SIDE)
        assert np.array_equal(face.skin, to_atlas(picture, landmarks, SIDE))
        assert np.array_equal(face.detail, detail_of(landmarks))


@pytest.mark.parametrize("degrees", [-60, -45, 45, 60])
def test_the_hidden_half_has_the_features_of_the_one_that_is_seen(degrees: float) -> None:
    image, view = turned(woman(), front(), degrees)
    face = flattened(image, view.landmarks, SIDE)
    place = hidden(view.landmarks)
    truth = features(to_atlas(woman(), front().landmarks, SIDE))[place]
    alone = features(to_atlas(image, view.landmarks, SIDE))[place]
    assert place.mean() > 0.02
    assert alike(features(face.skin)[place], truth) > max(0.4, alike(alone, truth) + 0.2)
    assert (face.detail > 0).mean() > 0.95 > (detail_of(view.landmarks) > 0).mean()


@pytest.mark.parametrize("degrees", [-45, 45])
def test_the_light_of_the_half_that_is_seen_goes_on(degrees: float) -> None:
    """It does not change sides, as it does in a mirror."""
    image, view = turned(lit_from_the_left(woman(), front()), front(), degrees)
    skin = flattened(image, view.landmarks, SIDE).skin.astype(np.float32).mean(2)
    seen = to_atlas(image, view.landmarks, SIDE).astype(np.float32).mean(2)
    column = slice(SIDE * 5 // 10, SIDE * 6 // 10)  # the height of the cheeks
    near, far = (slice(70, 100), slice(156, 186)) if degrees < 0 else (slice(156, 186), slice(70, 100))
    middle = slice(118, 138)
    slope = float(seen[column, middle].mean() - seen[column, near].mean())
    went_on = float(skin[column, far].mean() - skin[column, middle].mean())
    assert went_on * np.sign(slope) > -0.55 * abs(slope)  # a mere mirror image has -1


@pytest.mark.parametrize("degrees", [-60, -45, 45, 60])
def test_a_turned_source_paints_both_halves_of_a_face(degrees: float) -> None:
    wanted = model().embed(woman(), front().face.landmarks5)
    target = largest(man())

    def likeness(source: Image, view: View) -> tuple[float, float]:
        patch, result = ClassicSwapper().prepare(source, view).renderer()(man(), target), man().copy()
        assert patch is not None
        paste(result, patch)
        return float(model().embed(result, target.face.landmarks5) @ wanted), float(patch.mask.sum())

    best, most = likeness(woman(), front())
    found, painted = likeness(*turned(woman(), front(), degrees))
    own = float(model().embed(man(), target.face.landmarks5) @ wanted)
    assert painted > 0.8 * most
    assert found - own > 0.5 * (best - own)
