"""Expression: a frown of the target is a frown afterwards, and its wrinkles that are always there stay out."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from services.facefusion.classic import ClassicSwapper, to_lab
from services.facefusion.expression import FROWN, REST, ExpressionMemory, folds, frown, skin, upright
from services.facefusion.face import Float
from services.facefusion.mesh import Mesh, to_atlas
from services.facefusion.occlusion import ATLAS_SIDE
from services.facefusion.swapper import View, paste
from shared.arrays import Image
from tests.support.faces import frames_of, largest, woman

BETWEEN_THE_BROWS = (9, 8)  # landmarks: the upper and the lower end of a fold
CLEAR = np.ones((ATLAS_SIDE, ATLAS_SIDE), np.float32)


def face(fold: float = 0, *, wrinkle: float = 0) -> Float:
    """A plain face in the atlas (Lab), perhaps with a dark fold between the brows and a wrinkle beside the mouth."""
    lab = np.full((ATLAS_SIDE, ATLAS_SIDE, 3), 60, np.float32)
    lab += np.random.default_rng(3).normal(0, 0.5, lab.shape).astype(np.float32)
    points = Mesh.load().points * ATLAS_SIDE
    for depth, (one, other) in ((fold, BETWEEN_THE_BROWS), (wrinkle, (205, 207))):
        drawn = np.zeros((ATLAS_SIDE, ATLAS_SIDE), np.float32)
        cv2.line(drawn, points[one].astype(int).tolist(), points[other].astype(int).tolist(), 1, 2)
        lab[..., 0] -= depth * drawn
    return lab


def at_fold(change: Float) -> float:
    """The strongest change between the brows."""
    x, y = (Mesh.load().points[list(BETWEEN_THE_BROWS)].mean(0) * ATLAS_SIDE).astype(int)
    return float(change[y - 3 : y + 4, x - 3 : x + 4].min())


def test_a_face_at_rest_has_no_expression_whatever_wrinkles_it_has() -> None:
    memory = ExpressionMemory()
    for _ in range(5):
        assert np.abs(memory.update(face(wrinkle=15), CLEAR)).max() == 0


def test_a_frown_is_one_for_as_long_as_it_lasts() -> None:
    memory = ExpressionMemory()
    for _ in range(50):
        memory.update(face(wrinkle=15), CLEAR)
    first = memory.update(face(15, wrinkle=15), CLEAR)
    assert at_fold(first) < -5
    away = np.abs(first) < 0.5
    assert away.mean() > 0.95  # nothing else has changed
    for _ in range(75):
        later = memory.update(face(15, wrinkle=15), CLEAR)
    assert at_fold(later) < 0.6 * at_fold(first)
    assert at_fold(memory.update(face(wrinkle=15), CLEAR)) > -1  # it ends with the frown


def own_folds(fold: float = 0, *, wrinkle: float = 0) -> Float:
    return upright(folds(np.ascontiguousarray(face(fold, wrinkle=wrinkle)[..., 0])))


def test_a_frown_that_is_there_from_the_first_frame_on_is_one() -> None:
    memory = ExpressionMemory()
    first = memory.update(face(15, wrinkle=15), CLEAR, own_folds())
    assert at_fold(first) < -4
    assert (np.abs(first) > 0.5).mean() < 0.02  # the wrinkle is none
    assert np.abs(memory.update(face(15, wrinkle=15), CLEAR, own_folds()) - first).max() < 0.5  # steady
    assert at_fold(ExpressionMemory().update(face(15), 0 * CLEAR, own_folds())) == 0  # behind a hand


def test_a_frown_that_the_source_has_as_well_is_not_laid_on_twice() -> None:
    assert frown(own_folds(15), own_folds(15)).min() == 0
    assert at_fold(frown(own_folds(15), own_folds(5))) < -1
    assert frown(own_folds(), own_folds(15)).max() == 0  # and none of the source's is taken away
    assert np.abs(frown(own_folds(wrinkle=15), own_folds())).max() == 0


@pytest.mark.parametrize(("frame", "frowning"), [(10, True), (242, False), (300, False)])
def test_the_woman_frowns_where_she_does(frame: int, frowning: bool) -> None:  # noqa: FBT001
    image = frames_of("clip-woman-hands", count=1, start=frame)[0]
    lab = to_lab(to_atlas(image, largest(image).landmarks, ATLAS_SIDE))
    depth = -float(upright(folds(np.ascontiguousarray(lab[..., 0]))).min())
    assert depth > FROWN if frowning else depth < REST - 0.2


def test_what_covers_the_face_is_no_expression_and_is_not_remembered() -> None:
    memory = ExpressionMemory()
    for _ in range(10):
        memory.update(face(), CLEAR)
    before = memory.usual
    assert before is not None
    before = before.copy()
    covered = memory.update(face(40), 0 * CLEAR)
    assert np.abs(covered).max() == 0
    assert memory.usual is not None
    assert np.array_equal(memory.usual, before)


def test_brows_eyes_and_lips_move_with_the_mesh_and_are_no_folds() -> None:
    points = (Mesh.load().points * ATLAS_SIDE).astype(int)
    for landmark in (66, 296, 159, 386, 13, 0, 17):
        x, y = points[landmark]
        assert skin()[y, x] < 0.2
    for landmark in (9, 151, 205, 425, 199):
        x, y = points[landmark]
        assert skin()[y, x] > 0.8


def frowning(image: Image, view: View) -> Image:
    """The same person with two dark folds between the brows."""
    frown = image.astype(np.float32)
    height = float(np.ptp(view.landmarks[:, 1]))
    shadow = np.zeros(image.shape[:2], np.float32)
    middle = view.landmarks[[9, 8], :2]
    for side in (-1, 1):
        ends = np.round((middle + np.array([side * 0.022 * height, 0])) * 16).astype(int)
        cv2.line(shadow, ends[0].tolist(), ends[1].tolist(), 1, max(round(height * 0.012), 1), cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(shadow, (0, 0), height * 0.006)
    frown *= 1 - 0.5 * soft[..., None] / soft.max()
    return frown.astype(np.uint8)


@pytest.mark.parametrize("source", ["clip-single-face"])
def test_a_frown_of_the_target_is_seen_on_the_new_face(source: str) -> None:
    his = frames_of(source)[0]
    view = largest(woman())
    renderer = ClassicSwapper().prepare(his, largest(his)).renderer()
    pictures = []
    for index, image in enumerate([woman()] * 5 + [frowning(woman(), view)]):
        patch = renderer(image, replace(view, fresh=index == 0))
        assert patch is not None
        result = image.copy()
        paste(result, patch)
        pictures.append(result.astype(np.float32).mean(2))
    wanted = woman().astype(np.float32).mean(2) - frowning(woman(), view).astype(np.float32).mean(2)
    darker = pictures[-2] - pictures[-1]
    where = wanted > 0.5 * wanted.max()
    assert float(darker[where].mean()) > 0.6 * float(wanted[where].mean())
    assert float(darker[where].mean()) < 1.4 * float(wanted[where].mean())
