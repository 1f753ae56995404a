"""What of a source's face is skin: not its hair, its glasses, a hand.

The network of `occluder.py` says what covers it. A light fringe it may see in part only; above the brows what it sees
is therefore continued over whatever is darker than the skin.
"""

from functools import cache

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.landmarks import LEFT_BROW, RIGHT_BROW
from services.facefusion.mesh import Mesh
from services.facefusion.occluder import covering
from services.facefusion.occlusion import ATLAS_SIDE, Mask, beside_brows, ellipse, entered, features, oval, skin_median

SUSPECTED = 0.2  # the network's output
DARKER = 0.2  # than the skin by this share: perhaps hair, where it is connected to some


def usable_skin(lab: Float) -> Float:
    """Return 1 where a source (ATLAS_SIDE, ATLAS_SIDE, 3 Lab) shows skin, 0 where something covers its face."""
    covered = (covering(lab) > SUSPECTED) & oval()
    darker = 1 - lab[..., 0] / max(float(skin_median(lab[..., 0])), 1.0) > DARKER
    hair = entered(covered | (darker & forehead()), covered, least=0)
    grown = np.maximum(wider(covered, 3), wider(hair, 5) * beside_brows())
    return np.asarray(1 - cv2.GaussianBlur(grown, (0, 0), 1.5), np.float32)


def wider(found: Mask, side: int) -> Float:
    """Return a mask that is wider by half a side, as 0-1."""
    return np.asarray(cv2.dilate(found.astype(np.float32), ellipse(side)), np.float32)


@cache
def forehead() -> Mask:
    """Where a fringe lies: in the oval above the lower edge of the brows, and not on them."""
    brows = Mesh.load().points[[*LEFT_BROW, *RIGHT_BROW], 1] * ATLAS_SIDE
    above = np.arange(ATLAS_SIDE)[:, None] < brows.max()
    return np.asarray(above & oval() & ~features(around=3), np.bool_)
