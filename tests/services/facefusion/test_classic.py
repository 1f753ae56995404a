"""The classic swap on pictures: who it looks like afterwards, and what it leaves unchanged."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from services.facefusion import classic, occluder
from services.facefusion.classic import ClassicSwapper
from services.facefusion.embed import cosine_distance
from services.facefusion.landmarks import INNER_LIPS, LEFT_EYE, opening
from services.facefusion.swapper import Patch, Rendering, View, paste
from shared.arrays import Image
from tests.support.faces import difference, frames_of, largest, man, model, woman


def swap(source: Image, target: Image) -> tuple[Image, Patch, View]:
    view = largest(target)
    patch = ClassicSwapper().prepare(source, largest(source)).renderer()(target, view)
    assert patch is not None
    result = target.copy()
    paste(result, patch)
    return result, patch, view


@pytest.mark.parametrize(("source", "target"), [(man, woman), (woman, man)])
def test_the_result_looks_more_like_the_source_and_less_like_the_target(source: object, target: object) -> None:
    assert callable(source)
    assert callable(target)
    result, _, view = swap(source(), target())

    def embedded(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return model().embed(image, largest(image).face.landmarks5)

    wanted, own = embedded(source()), embedded(target())
    seen = model().embed(result, view.face.landmarks5)
    # The classic swap does not use SFace; figures by another network, dlib's, are in docs/facefusion.md.
    assert cosine_distance(seen, wanted) < cosine_distance(own, wanted) - 0.2
    assert cosine_distance(seen, own) > 0.3


def test_what_lies_outside_the_face_stays_bit_for_bit() -> None:
    result, patch, _ = swap(man(), woman())
    outside = np.ones(woman().shape[:2], bool)
    height, width = patch.mask.shape
    outside[patch.y : patch.y + height, patch.x : patch.x + width] = patch.mask == 0

    assert (result[outside] == woman()[outside]).all()
    assert outside.mean() > 0.6


def test_eyes_and_the_inside_of_the_mouth_stay_the_targets() -> None:
    laughing = frames_of("clip-woman-hands", count=1, start=340)[0]
    result, _, view = swap(man(), laughing)

    changed = difference(result, laughing)
    for contour in (LEFT_EYE, INNER_LIPS):
        x, y = view.landmarks[list(contour), :2].mean(0).round().astype(int)
        assert changed[y - 1 : y + 2, x - 1 : x + 2].max() <= 3
        before = opening(view.landmarks, contour)
        assert opening(largest(result).landmarks, contour) == pytest.approx(before, rel=0.3)


def test_sixteen_bit_pictures_are_rendered_in_sixteen_bits() -> None:
    deep = woman().astype(np.uint16) * 257
    view = largest(woman())
    patch = ClassicSwapper().prepare(man(), largest(man())).renderer()(woman(), view)
    assert patch is not None
    shallow = woman().copy()

    paste(deep, patch)
    paste(shallow, patch)

    assert np.abs(deep.astype(float) / 257 - shallow).max() <= 0.51
    assert (deep % 257 != 0).any()


def test_a_painter_remembers_nothing_of_another_person() -> None:
    source_one = ClassicSwapper().prepare(man(), largest(man()))
    fresh = source_one.renderer()(woman(), largest(woman()))

    other = ClassicSwapper().prepare(woman(), largest(woman())).renderer()
    other(man(), largest(man()))
    after = source_one.renderer()(woman(), largest(woman()))

    assert fresh is not None
    assert after is not None
    assert (fresh.pixels == after.pixels).all()
    assert (fresh.mask == after.mask).all()


def test_a_fresh_view_after_a_cut_forgets_what_was_before() -> None:
    source = ClassicSwapper().prepare(man(), largest(man()))
    view = largest(woman())
    alone = source.renderer()(woman(), view)

    renderer = source.renderer()
    renderer(man(), largest(man()))
    after_cut = renderer(woman(), view)  # a new view is fresh unless told otherwise

    assert alone is not None
    assert after_cut is not None
    assert np.array_equal(alone.mask, after_cut.mask)


def test_a_turned_target_is_changed_only_where_the_source_has_pixels() -> None:
    source = ClassicSwapper().prepare(man(), largest(man()))
    frontal = largest(woman())
    squeezed = frontal.landmarks.copy()  # a source that shows one cheek on a fifth of the usual width
    middle = squeezed[:, 0].mean()
    side = squeezed[:, 0] > middle
    squeezed[side, 0] = middle + (squeezed[side, 0] - middle) * 0.2
    narrow = ClassicSwapper().prepare(woman(), View(frontal.face, squeezed))

    full, faded = (prepared.renderer()(woman(), frontal) for prepared in (source, narrow))

    assert full is not None
    assert faded is not None
    half = full.mask.shape[1] // 2
    assert faded.mask[:, half + 20 :].mean() < 0.5 * full.mask[:, half + 20 :].mean()
    assert faded.mask[:, : half - 20].mean() > 0.8 * full.mask[:, : half - 20].mean()


def test_what_sees_one_frame_alone_waits_for_no_other_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    step = 1
    seen: set[tuple[str, int]] = set()

    def noting(module: ModuleType, name: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def noted(*arguments: Any) -> Any:
            seen.add((name, step % 2))
            return function(*arguments)

        monkeypatch.setattr(module, name, noted)

    for module, name in ((occluder, "covering"), (classic, "rasterise"), (classic, "measured"), (classic, "to_rgb")):
        noting(module, name)
    rendering = Rendering(ClassicSwapper().prepare(man(), largest(man())).renderer().steps(woman(), largest(woman())))
    while rendering.advance():
        step += 1
    assert rendering.patch is not None
    assert seen == {("covering", 0), ("rasterise", 0), ("measured", 0), ("to_rgb", 0)}  # odd steps come in turns
    assert step % 2 == 0
