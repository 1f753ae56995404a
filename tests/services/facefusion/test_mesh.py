"""The mesh: from a frame to the atlas and back."""

import numpy as np

from services.facefusion.landmarks import INNER_LIPS, LEFT_EYE, OVAL, RIGHT_EYE
from services.facefusion.mesh import (
    Mesh,
    affine_maps,
    areas,
    atlas_numbers,
    contour_mask,
    from_atlas,
    rasterise,
    to_atlas,
)
from tests.support.faces import largest, man, woman


def test_the_triangles_fill_the_oval_but_for_eyes_and_mouth_and_all_face_the_camera() -> None:
    mesh = Mesh.load()
    assert mesh.points.shape == (468, 2)
    assert (areas(mesh.points[mesh.triangles]) > 0).all()

    side = 256
    filled = atlas_numbers(side) >= 0
    wanted = (contour_mask(side, OVAL) > 0) & ~(contour_mask(side, LEFT_EYE, RIGHT_EYE, INNER_LIPS) > 0)

    assert (filled == wanted).mean() > 0.98


def test_a_face_comes_back_from_the_atlas_as_it_was() -> None:
    image, view = man(), largest(man())
    region = rasterise(view.landmarks, image.shape[:2])
    assert region is not None

    back = from_atlas(to_atlas(image, view.landmarks, 512), region)

    width, height = region.size
    part = image[region.y : region.y + height, region.x : region.x + width]
    error = np.abs(back.astype(int) - part)[region.covered]
    assert np.median(error) <= 2
    assert error.mean() < 4


def test_what_a_turned_head_hides_is_not_drawn() -> None:
    view = largest(woman())
    region = rasterise(view.landmarks, woman().shape[:2])
    assert region is not None
    turned = view.landmarks.copy()
    angle = np.radians(50)
    x, z = view.landmarks[:, 0] - view.landmarks[:, 0].mean(), view.landmarks[:, 2]
    turned[:, 0] = x * np.cos(angle) + z * np.sin(angle) + view.landmarks[:, 0].mean()
    turned[:, 2] = z * np.cos(angle) - x * np.sin(angle)

    shown = rasterise(turned, woman().shape[:2])

    assert shown is not None
    assert (shown.detail > 0).sum() < 0.95 * (region.detail > 0).sum()


def test_a_face_outside_the_frame_has_no_region() -> None:
    away = largest(man()).landmarks + np.array([5000, 0, 0], np.float32)
    assert rasterise(away, man().shape[:2]) is None


def test_the_maps_of_triangles_take_their_corners_there_and_those_of_collapsed_ones_are_finite() -> None:
    rng = np.random.default_rng(3)
    corners, wanted = rng.uniform(0, 400, (2, 50, 3, 2)).astype(np.float32)
    corners[7] = [[10, 10], [20, 20], [40, 40]]
    maps = affine_maps(corners, wanted)
    points = np.concatenate([corners, np.ones((50, 3, 1), np.float32)], 2)
    found = np.einsum("tcp,apt->tca", points, maps)
    assert np.isfinite(found).all()
    slim = np.abs(areas(corners)) < 2000  # square pixels: the slimmer, the steeper its map and the more float32 rounds
    assert 0 < slim.sum() < 10
    assert np.abs(found - wanted)[~slim].max() < 0.01
    assert np.allclose(found[7], wanted[7, 0])
