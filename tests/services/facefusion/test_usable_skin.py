"""What is left of a source: its skin, whatever light falls on it, and neither hair nor glasses."""

import numpy as np
import pytest

from benchmarks.occluders.composites import composite
from services.facefusion.classic import to_lab
from services.facefusion.face import Float
from services.facefusion.face_analysis import eight_bits
from services.facefusion.mesh import to_atlas
from services.facefusion.occlusion import ATLAS_SIDE, entered, oval
from services.facefusion.swapper import View
from services.facefusion.usable_skin import forehead, usable_skin
from shared import weights
from shared.arrays import Image
from shared.media.image import read_picture
from tests.support.clips import opened
from tests.support.faces import largest, man, model

TOP = np.arange(ATLAS_SIDE)[:, None] < 13  # rows of the atlas, of which a fringe shows nothing


def atlas_of(image: Image, view: View) -> Float:
    return to_lab(to_atlas(image, view.landmarks, ATLAS_SIDE))


def test_a_clear_face_is_all_skin() -> None:
    assert usable_skin(atlas_of(man(), largest(man())))[oval()].mean() > 0.97


def test_a_fringe_is_no_skin_and_the_face_below_it_is() -> None:
    group = eight_bits(read_picture(opened(weights.path("picture-multi-face"))))
    third = sorted(model().detect(group), key=lambda face: float(face.centre[0]))[2]
    skin = usable_skin(atlas_of(group, model().view(group, third)))
    assert skin[TOP & forehead()].mean() < 0.1
    assert skin[oval() & ~forehead()].mean() > 0.9  # some of his hair lies at the temple


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_shaded_half_is_skin(*, mirrored: bool) -> None:
    """The rule for hair of the target, darker than skin and connected to the rim, takes a fifth of it for hair."""
    lab = atlas_of(man(), largest(man())).copy()
    shade = 1 - 0.55 / (1 + np.exp(np.linspace(-8, 8, ATLAS_SIDE, dtype=np.float32)))
    lab[..., 0] *= shade[::-1] if mirrored else shade
    assert usable_skin(lab)[oval()].mean() > 0.95


def test_glasses_are_no_skin() -> None:
    view = largest(man())
    (worn,) = composite("sunglasses", [man()], [view.landmarks], enters=False)
    mask = np.repeat((worn.covered * 255).astype(np.uint8)[..., None], 3, 2)
    covered = to_atlas(mask, view.landmarks, ATLAS_SIDE)[..., 0] > 200
    assert usable_skin(atlas_of(worn.image, view))[covered & oval()].mean() < 0.2


def test_what_is_found_in_part_is_continued_to_its_end() -> None:
    candidates = np.zeros((ATLAS_SIDE, ATLAS_SIDE), np.bool_)
    candidates[10:20, 20:100] = candidates[40:60, 30:60] = True
    seeds = np.zeros_like(candidates)
    seeds[12:18, 90:96] = True
    found = entered(candidates, seeds, least=0)
    assert found[10:20, 22:98].all()
    assert not found[40:60].any()
