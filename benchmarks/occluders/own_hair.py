"""People's own hair that lies over the oval of their face: it is in front of the face without being put there.

Areas were drawn by eye in the atlas, on enlarged frames; in them is hair what is much darker than the person's skin.
Whoever is not named has none there, or none that can be told from shade.
"""

import cv2
import numpy as np

from services.facefusion.classic import to_lab
from services.facefusion.face import Float
from services.facefusion.mesh import from_atlas, rasterise, to_atlas
from services.facefusion.occlusion import ATLAS_SIDE, Mask, oval, skin_median
from shared.arrays import Image

DARKER = 0.4  # than the skin by this share
AREAS: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {  # x, y in pixels of the atlas
    "woman": (
        ((0, 0), (30, 0), (27, 20), (21, 30), (16, 45), (17, 75), (24, 100), (0, 100)),
        ((128, 0), (100, 0), (103, 20), (106, 30), (110, 45), (109, 70), (100, 90), (93, 105), (128, 105)),
    ),
    "group 2": (
        ((0, 0), (128, 0), (128, 34), (102, 32), (97, 22), (78, 20), (50, 22), (44, 17), (28, 20), (18, 26), (0, 34)),
    ),
    "person_b_2": (
        ((95, 0), (128, 0), (128, 95), (105, 95), (106, 70), (108, 45), (104, 35), (100, 25), (95, 8)),
        ((0, 45), (15, 45), (17, 75), (25, 95), (0, 100)),
    ),
    "impostor_2": (((128, 0), (107, 10), (109, 25), (113, 45), (128, 50)),),
}


def own_hair(name: str, image: Image, points: Float) -> Mask:
    """Return where in (H, W) a person's hair is over the face, from a frame with nothing in front of it."""
    found = np.zeros((image.shape[0], image.shape[1]), np.bool_)
    region = rasterise(points, found.shape)
    if name not in AREAS or region is None:
        return found
    hair = hair_in_atlas(name, to_lab(to_atlas(image, points, ATLAS_SIDE))).astype(np.float32)
    width, height = region.size
    there = (from_atlas(hair, region) > 0.5) & region.covered  # noqa: PLR2004
    found[region.y : region.y + height, region.x : region.x + width] = there
    return found


def hair_in_atlas(name: str, lab: Float) -> Mask:
    """Return where somebody of `AREAS` has hair, (ATLAS_SIDE, ATLAS_SIDE), from (ATLAS_SIDE, ATLAS_SIDE, 3) Lab."""
    drawn = np.zeros((ATLAS_SIDE, ATLAS_SIDE), np.uint8)
    cv2.fillPoly(drawn, [np.array(area, np.int32) for area in AREAS[name]], 1)
    dark = lab[..., 0] < (1 - DARKER) * skin_median(lab[..., 0])
    return np.asarray(dark & oval() & (drawn > 0), np.bool_)
