"""Any swapper's face, restored: where, how much of it, and steadily."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.occluders.composites import composite
from services.facefusion.face import Float
from services.facefusion.model import FaceModel
from services.facefusion.restoration.chip import Alignment
from services.facefusion.restoration.detail_memory import DetailMemory
from services.facefusion.restoration.kept_face import KeptFace, nobody
from services.facefusion.restoration.restorer import Restorer
from services.facefusion.restoration.restoring import Restored, RestoringRenderer, RestoringSource, RestoringSwapper
from services.facefusion.swapper import Patch, View, paste
from services.facefusion.track import Tracker
from shared.arrays import Image
from tests.support.faces import difference, frames_of, largest, man, model, woman
from tests.support.restorers import EVEN, GFPGAN, lighter, noisy, same

FRAMES = 12


@cache
def views() -> list[tuple[Image, View]]:
    """A talking face with its smoothed landmarks, frame after frame."""
    tracker = Tracker(model().detect)
    found = []
    for index, image in enumerate(frames_of("clip-single-face", count=FRAMES)):
        [track] = tracker(image, index)
        view = track.locate(image, model().landmarks, 1 / 30)
        assert view is not None
        found.append((image, view))
    return found


def source(restorer: Restorer, share: float = 1.0) -> RestoringSource:
    return RestoringSwapper(model().swapper, restorer, share).prepare(woman(), largest(woman()))


def only(restorer: Restorer, share: float = 1.0) -> RestoringSource:
    return RestoringSwapper(KeptFace(), restorer, share).prepare(*nobody())


def plain() -> Patch:
    patch = model().swapper.prepare(woman(), largest(woman())).renderer()(man(), largest(man()))
    assert patch is not None
    return patch


def pasted(frame: Image, patch: Patch | None) -> Image:
    assert patch is not None
    result = frame.copy()
    paste(result, patch)
    return result


def test_a_share_of_nothing_is_the_swap_bit_for_bit(tmp_path: Path) -> None:
    patch = source(lighter(tmp_path), 0).renderer()(man(), largest(man()))
    assert patch is not None
    assert np.array_equal(patch.pixels, plain().pixels)
    assert np.array_equal(patch.mask, plain().mask)


def test_a_restorer_that_changes_nothing_leaves_the_swap_as_it_is(tmp_path: Path) -> None:
    assert np.array_equal(
        pasted(man(), source(same(tmp_path)).renderer()(man(), largest(man()))), pasted(man(), plain())
    )


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_swapped_face_has_its_share_of_the_detail_within_the_swappers_mask(tmp_path: Path, share: float) -> None:
    patch = source(lighter(tmp_path), share).renderer()(man(), largest(man()))
    assert patch is not None
    assert np.array_equal(patch.mask, plain().mask)
    certain = plain().mask > 0.99
    assert certain.sum() > 500
    assert (patch.pixels - plain().pixels)[certain] == pytest.approx(share * EVEN * 127.5, abs=0.1)
    untouched = np.ones(man().shape[:2], bool)
    height, width = patch.mask.shape
    untouched[patch.y : patch.y + height, patch.x : patch.x + width] = patch.mask == 0
    assert difference(pasted(man(), patch), man())[untouched].max() == 0


def test_the_restorer_sees_the_new_face_in_the_old_frame(tmp_path: Path) -> None:
    seen: list[Float] = []

    class Seeing(Restorer):
        def __call__(self, chip: Float) -> Float:
            seen.append(chip)
            return super().__call__(chip)

    same(tmp_path)
    view = largest(man())
    source(Seeing("seeing", tmp_path / "same.onnx", GFPGAN)).renderer()(man(), view)
    [chip] = seen
    swapped = Alignment.of(view.face, GFPGAN).cut(pasted(man(), plain()), None)
    assert np.abs(chip - swapped).mean() < 1
    assert np.abs(chip - Alignment.of(view.face, GFPGAN).cut(man(), None)).mean() > 1


def test_without_a_swap_the_whole_face_is_restored_with_its_eyes_and_mouth(tmp_path: Path) -> None:
    view = largest(man())
    patch = only(lighter(tmp_path)).renderer()(man(), view)
    result = pasted(man(), patch)
    change = result.astype(int) - man().astype(int)
    points = view.face.landmarks5.round().astype(int)
    for x, y in points:
        assert change[y, x] == pytest.approx(EVEN * 127.5, abs=2)
    corners = np.array([change[0, 0], change[-1, -1]])
    assert corners.max() == corners.min() == 0


@pytest.mark.parametrize("make", [same, lighter])
def test_a_frame_of_16_bits_keeps_its_own_values_but_for_what_is_added(
    tmp_path: Path, make: Callable[[Path], Restorer]
) -> None:
    frame = man().astype(np.uint16) * 257
    frame += np.random.default_rng(4).integers(-99, 99, frame.shape).astype(np.uint16)  # wraps around at the ends
    patch = only(make(tmp_path)).renderer()(man(), largest(man()))
    assert patch is not None
    result = frame.copy()
    paste(result, patch)
    height, width = patch.mask.shape
    before = frame[patch.y : patch.y + height, patch.x : patch.x + width].astype(int)
    after = result[patch.y : patch.y + height, patch.x : patch.x + width].astype(int)
    well = (patch.mask > 0.99) & (before.max(2) < 60_000)
    expected = 0 if make is same else EVEN * 127.5 * 257
    assert (after - before)[well] == pytest.approx(expected, abs=0 if make is same else 40)
    assert np.array_equal(after[patch.mask == 0], before[patch.mask == 0])


def test_what_covers_the_face_is_not_restored(tmp_path: Path) -> None:
    """Something grey before one cheek, from beside the face to the nose, from the sixth frame on."""
    renderer = only(lighter(tmp_path)).renderer()
    for number, (image, view) in enumerate(views()):
        covered = image.copy()
        nose, mouth = (view.face.landmarks5[place].astype(int) for place in (2, 3))
        if number > 5:
            covered[nose[1] - 5 : nose[1] + 45, : nose[0] - 5] = 90
        patch = renderer(covered, view)
    change = difference(pasted(covered, patch), covered)
    assert change[mouth[1] - 10, mouth[0] - 8] < 4
    x, y = view.face.landmarks5[4].astype(int)  # the other corner of the mouth
    assert change[y - 20, x + 12] > 10


def test_a_hand_that_is_there_from_the_first_frame_on_is_not_restored(tmp_path: Path) -> None:
    [made] = composite("hand", [man()], [largest(man()).landmarks], enters=False)
    patch = only(lighter(tmp_path)).renderer()(made.image, largest(made.image))
    change = difference(pasted(made.image, patch), made.image)
    hand = cv2.erode((made.covered > 0.9).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    left, top, width, height = cv2.boundingRect((change > 0).astype(np.uint8))
    inside = np.zeros(change.shape, bool)
    inside[top : top + height, left : left + width] = True
    assert np.median(change[hand & inside]) < 2
    x, y = largest(man()).face.landmarks5[0].astype(int)  # an eye
    assert change[y, x] > 10


def flicker(chips: list[Float]) -> float:
    """Mean absolute difference of consecutive aligned chips, where the face is."""
    inner = np.s_[140:460, 130:380]
    steps = [np.abs(one[inner] - other[inner]).mean() for one, other in pairwise(chips)]
    return float(np.mean(steps))


def chips_of(renderer: RestoringRenderer, *, forgets: bool) -> list[Float]:
    """The aligned faces of the clip as they are shown, by a renderer that may forget what it has restored."""
    found = []
    for image, view in views():
        if forgets:
            renderer.detail = DetailMemory()
        patch = renderer(image, view)
        found.append(Alignment.of(view.face, GFPGAN).cut(image, patch if patch and not patch.added else None))
    return found


def test_smoothing_takes_at_least_half_of_the_flicker_that_a_restorer_adds(tmp_path: Path) -> None:
    restorer = noisy(tmp_path)
    swapped, loose, smooth = (
        flicker(chips_of(source(restorer, share).renderer(), forgets=forgets))
        for share, forgets in ((0.0, True), (1.0, True), (1.0, False))
    )
    assert loose - swapped > 1
    assert smooth - swapped < 0.5 * (loose - swapped)


def test_a_fresh_view_begins_anew(tmp_path: Path) -> None:
    restorer = noisy(tmp_path)
    used, new = source(restorer).renderer(), source(restorer).renderer()
    used(*views()[0])
    image, view = views()[5]
    after_a_cut = replace(view, fresh=True)
    one, other = used(image, after_a_cut), new(image, after_a_cut)
    assert one is not None
    assert other is not None
    assert np.array_equal(one.pixels, other.pixels)


def test_a_renderer_goes_on_from_what_another_remembered(tmp_path: Path) -> None:
    restorer = noisy(tmp_path)
    for made in (source(restorer), only(restorer)):
        one = made.renderer()
        for image, view in views()[:4]:
            one(image, view)
        assert isinstance(one.remembered, Restored)
        other = made.renderer(deepcopy(one.remembered))
        image, view = views()[4]
        expected, found = one(image, view), other(image, view)
        assert expected is not None
        assert found is not None
        assert np.array_equal(found.pixels, expected.pixels)


def test_a_face_out_of_the_frame_is_no_patch(tmp_path: Path) -> None:
    image, view = views()[0]
    away = replace(view, landmarks=view.landmarks + np.array([5000, 0, 0], np.float32))
    restorer = same(tmp_path)
    assert source(restorer).renderer()(image, away) is None
    assert only(restorer).renderer()(image, away) is None


def test_the_models_swapper_keeps_its_name(tmp_path: Path) -> None:
    faces: FaceModel = model()
    assert RestoringSwapper(faces.swapper, same(tmp_path), 1).name == "classic"
