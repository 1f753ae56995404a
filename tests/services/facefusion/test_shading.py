"""Light: the target's light lies on the source's skin, and the two skins have one colour where they meet."""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from services.facefusion.classic import ClassicSwapper, to_lab
from services.facefusion.face import Float
from services.facefusion.landmarks import OVAL
from services.facefusion.mesh import rasterise
from services.facefusion.shading import light
from services.facefusion.swapper import View, paste
from shared.arrays import Image
from tests.support.faces import largest, man, woman


@cache
def front() -> View:
    return largest(woman())


def swapped(target: Image) -> tuple[Image, npt.NDArray[np.bool_]]:
    """The man on a picture of the woman, and where it is all his skin."""
    patch = ClassicSwapper().prepare(man(), largest(man())).renderer()(target, front())
    assert patch is not None
    result, inside = target.copy(), np.zeros(target.shape[:2], bool)
    paste(result, patch)
    height, width = patch.mask.shape
    inside[patch.y : patch.y + height, patch.x : patch.x + width] = patch.mask > 0.95
    return result, inside


def lit_from_the_side(width: float) -> tuple[Image, Float]:
    """The woman with a light from the left, which fades over a share of her face's width, and that light (H, W)."""
    low, high = front().landmarks[:, 0].min(), front().landmarks[:, 0].max()
    across = (np.arange(woman().shape[1], dtype=np.float32) - (low + high) / 2) / (high - low) / width
    shade = np.tile(1 - 0.55 * np.clip(across + 0.5, 0, 1), (woman().shape[0], 1)).astype(np.float32)
    return (woman() * shade[..., None]).astype(np.uint8), shade


@pytest.mark.parametrize(("width", "closeness"), [(1.0, 0.9), (0.4, 0.95)])
def test_a_target_that_is_lit_from_the_side_is_lit_so_afterwards(width: float, closeness: float) -> None:
    target, _ = lit_from_the_side(width)
    (plain, inside), (lit, _) = swapped(woman()), swapped(target)
    weight = inside.astype(np.float32)
    sigma = 0.05 * float(np.ptp(front().landmarks[:, 1]))
    around = cv2.GaussianBlur(weight, (0, 0), sigma)

    def change(before: Image, after: Image) -> Float:
        """How much lighter the skin has become, without its features (their own lightness scales with the light)."""
        lighter = (to_lab(after)[..., 0] - to_lab(before)[..., 0]) * weight
        return np.asarray((cv2.GaussianBlur(lighter, (0, 0), sigma) / np.maximum(around, 1e-3))[inside], np.float32)

    gained, wanted = change(plain, lit), change(woman(), target)
    assert np.corrcoef(gained, wanted)[0, 1] > closeness
    assert np.polyfit(wanted, gained, 1)[0] == pytest.approx(1, abs=0.12)  # and as strongly
    assert abs(float((gained - wanted).mean())) < 2


def beard(image: Image) -> tuple[Image, Float]:
    """A dark beard's shadow over the lower third of the face, and over what lies below it; how strong it is (H, W)."""
    low, high = front().landmarks[:, 1].min(), front().landmarks[:, 1].max()
    below = (np.arange(image.shape[0], dtype=np.float32) - low) / (high - low)
    strength = np.tile(np.clip((below - 0.6) / 0.12, 0, 1)[:, None], (1, image.shape[1]))
    return (image * (1 - 0.4 * strength[..., None])).astype(np.uint8), strength


def test_there_is_no_band_of_another_colour_along_a_jaw_with_a_beards_shadow() -> None:
    target, strength = beard(woman())
    result, _ = swapped(target)
    oval = np.zeros(woman().shape[:2], np.uint8)
    cv2.fillPoly(oval, [np.round(front().landmarks[list(OVAL), :2]).astype(np.int32)], 1)
    height = float(np.ptp(front().landmarks[:, 1]))
    depth = cv2.distanceTransform(oval, cv2.DIST_L2, 5) / height
    band = (depth > 0.02) & (depth < 0.06) & (strength > 0.9)
    slow = [cv2.GaussianBlur(to_lab(image)[..., :], (0, 0), height * 0.03) for image in (result, target)]
    apart = np.abs(slow[0] - slow[1])[band]
    assert band.sum() > 100
    assert float(apart[:, 0].mean()) < 2.5  # of 100 in lightness
    assert float(apart[:, 1:].mean()) < 2


def test_light_is_measured_where_the_face_is_seen() -> None:
    """What hides the target's cheek does not light it."""
    region = rasterise(front().landmarks, woman().shape[:2])
    assert region is not None
    width, height = region.size
    shown = np.ones((height, width), np.float32)
    shown[:, : width // 3] = 0
    difference = np.zeros((height, width, 3), np.float32)
    difference[:, : width // 3] = -80
    difference[:, width // 3 :] = 5
    found = light(difference, shown * region.covered, shown, region)
    middle = found[height // 3 : -height // 3, width // 2 : -width // 3]
    assert middle[..., 0] == pytest.approx(np.full(middle.shape[:2], 5.0), abs=1)
    assert found[height // 2, width // 4, 0] > 0
