"""Targets that are turned to one side, and sources with a better and a poorer side."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from services.facefusion.classic import ClassicSource, ClassicSwapper
from services.facefusion.mesh import from_atlas, rasterise
from services.facefusion.mirrored_half import TURNED, turn
from services.facefusion.source_skin import SLIGHTLY, Seen, enough
from services.facefusion.swapper import View, paste
from shared.arrays import Image
from tests.support.faces import frames_of, largest, man, model, woman
from tests.support.turned_faces import turned


@cache
def looking_aside() -> tuple[Image, View]:
    """The woman, turned by about 15 degrees."""
    image = frames_of("clip-woman-hands", count=1, start=396)[0]
    return image, largest(image)


@cache
def source() -> ClassicSource:
    return ClassicSwapper().prepare(*looking_aside())


@cache
def target() -> View:
    return largest(man())


def without_its_better_side() -> ClassicSource:
    """The source as it is for targets that look into the camera."""
    return replace(source(), skin=replace(source().skin, completed=None))


def seen(prepared: ClassicSource, degrees: float) -> Seen:
    """Look at a source in the region of the man, turned by so many degrees."""
    image, view = turned(man(), target(), degrees)
    region = rasterise(view.landmarks, (image.shape[0], image.shape[1]))
    assert region is not None
    return prepared.skin.seen(region, view.landmarks)


def sign() -> float:
    """Which way the man has to be turned to show the side that the source shows at a slant."""
    way = np.sign(turn(looking_aside()[1].landmarks))
    assert SLIGHTLY < abs(turn(looking_aside()[1].landmarks)) < TURNED
    return float(way)


@pytest.mark.parametrize("degrees", [-15, 0, 15])
def test_a_target_that_looks_into_the_camera_gets_the_source_as_it_is(degrees: float) -> None:
    image, view = turned(man(), target(), degrees)
    region = rasterise(view.landmarks, (image.shape[0], image.shape[1]))
    assert region is not None
    found, own = source().skin.seen(region, view.landmarks), source().skin.own
    assert np.array_equal(found.pixels, from_atlas(own.level(region), region))
    assert np.array_equal(found.usable, own.usable)
    assert np.array_equal(found.enough, enough(own.detail, region, 0.0))


def test_the_side_that_the_source_shows_well_is_its_own() -> None:
    found, own = (seen(prepared, -50 * sign()) for prepared in (source(), without_its_better_side()))
    assert np.array_equal(found.pixels, own.pixels)
    assert np.array_equal(found.enough, own.enough)


@pytest.mark.parametrize("degrees", [30, 45, 60])
def test_of_the_other_side_there_is_more_than_the_source_shows(degrees: float) -> None:
    found, own = (seen(prepared, degrees * sign()) for prepared in (source(), without_its_better_side()))
    assert found.enough.sum() > 1.15 * own.enough.sum()


@pytest.mark.parametrize("degrees", [45, 60])
def test_such_a_target_resembles_the_source_more(degrees: float) -> None:
    image, view = turned(man(), target(), degrees * sign())
    wanted = model().embed(*(looking_aside()[0], looking_aside()[1].face.landmarks5))
    landmarks5 = np.stack(
        [
            view.landmarks[[33, 133], :2].mean(0),
            view.landmarks[[263, 362], :2].mean(0),
            *view.landmarks[[1, 61, 291], :2],
        ]
    )
    likeness = []
    for prepared in (source(), without_its_better_side()):
        patch, result = prepared.renderer()(image, view), image.copy()
        assert patch is not None
        paste(result, patch)
        likeness.append(float(model().embed(result, landmarks5.astype(np.float32)) @ wanted))
    assert likeness[0] > likeness[1]


def test_a_head_that_turns_changes_little_by_little() -> None:
    angles = np.arange(16, 46, 1.0) * sign()
    shares = [float(seen(source(), angle).usable.mean()) for angle in angles]
    sums = [float(seen(source(), angle).enough.mean()) for angle in angles]
    assert max(np.abs(np.diff(shares))) < 0.02
    assert max(np.abs(np.diff(sums))) < 0.03


def test_a_source_from_the_front_has_no_better_side_and_a_turned_one_only_that() -> None:
    assert ClassicSwapper().prepare(woman(), largest(woman())).skin.completed is None
    assert ClassicSwapper().prepare(*turned(woman(), largest(woman()), 40)).skin.completed is None
