"""The target's light on the source's skin: what changes slowly across the face is the target's.

The difference between the target and the painted skin is averaged. First a slope across the whole face, which an
average would flatten at the sides of the face: that is how a lamp at one side is kept. It rises or falls from one side
to the other and from top to bottom, and never from the middle to both sides: a face is symmetric and a lamp at its side
is not, so such a slope takes light and leaves the face's own shape. Then, of what remains, a wide
average, which takes light from a window and leaves the face's own features. Towards the rim, where the new skin meets
the target's own, a narrow one at full strength: there the two have the same colour, whatever it is, a beard's shadow as
well, so that the edge of the mask cannot be seen.
"""

from functools import cache

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.mask import oval_depth, smooth_step
from services.facefusion.mesh import Region, sample
from services.facefusion.occlusion import ATLAS_SIDE

WIDE = 0.2  # of the region's height: the sigma of the blur that keeps the light and removes the face
STRENGTH = 0.85  # share of the target's light that replaces the source's
NARROW = 0.045  # the same at the rim, where all of it is replaced
RIM_WIDTH = 0.05  # of the atlas: how far inside the oval the rim's light ends
DOUBT = 0.0003  # of what is seen: how hard it must speak for a slope, which is continued to where nothing is seen
REDUCTION = 4  # computed in a picture that is so many times smaller


def light(difference: Float, blend: Float, shown: Float, region: Region) -> Float:
    """Return what is to be added to the painted skin (h, w, 3 Lab) for it to be lit as the target is.

    `difference` (h, w, 3) is the target less the painted skin; `blend` (h, w) 0-1 is where the inner face is measured,
    `shown` (h, w) 0-1 where the target's face is seen at all, its rim included.
    """
    width, height = region.size
    away, inner, around = (reduced(part) for part in (difference, blend, shown * region.covered))
    rows, columns = inner.shape
    middle = region.atlas[:, REDUCTION // 2 :: REDUCTION, REDUCTION // 2 :: REDUCTION][:, :rows, :columns]
    places = np.ascontiguousarray(middle)
    slope = gradient(away, inner, places)
    wide = cv2.scaleAdd(
        average(np.asarray(cv2.subtract(away, slope), np.float32), inner, max(rows * WIDE, 1.0)), STRENGTH, slope
    )
    narrow = average(away, around, max(rows * NARROW, 0.7))
    at_rim = sample(rim(), places * ATLAS_SIDE - 0.5)
    found = cv2.add(wide, cv2.multiply(cv2.subtract(narrow, wide), cv2.merge([at_rim] * 3)))
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def reduced(picture: Float) -> Float:
    """Reduce (h, w[, 3]) to the size in which the light is computed: the mean of each square of pixels."""
    height, width = (max(side // REDUCTION, 1) for side in picture.shape[:2])
    whole = picture[: height * REDUCTION, : width * REDUCTION]  # a factor without a rest is several times as fast
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def gradient(values: Float, weight: Float, places: Float) -> Float:
    """Fit the slope of a light to (h, w, 3) values, by least squares where `weight` (h, w) is high.

    `places` (2, h, w) are x and y in the atlas, 0-1. With x from the middle of the face the terms are 1, x, y, xy and
    x^3, by which a hard light from the side falls off in the middle of the face.
    """
    x, y = 2 * np.clip(places, 0, 1) - 1  # what is not covered has no place
    terms = np.stack([np.ones_like(x), x, y, x * y, x**3]).reshape(5, -1)
    weighted = terms * weight.ravel()
    doubt = np.diag(np.array([0, 1, 1, 1, 1], np.float32)) * DOUBT * weight.sum()
    normal = weighted @ terms.T + doubt + 1e-3 * np.eye(5, dtype=np.float32)  # where nothing is seen: 0
    factors = np.linalg.solve(normal, weighted @ values.reshape(-1, 3))
    return np.asarray((terms.T @ factors).reshape(values.shape), np.float32)


def average(values: Float, weight: Float, sigma: float) -> Float:
    """Blur (h, w, 3) values where `weight` (h, w) is high, and continue them from there."""
    sums = cv2.GaussianBlur(cv2.multiply(values, cv2.merge([weight] * 3)), (0, 0), sigma)
    share = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    return np.asarray(cv2.divide(sums, cv2.merge([share] * 3)), np.float32)


@cache
def rim() -> Float:
    """Return the share of the rim's light in the atlas: 1 at the oval's edge, 0 well inside it."""
    return smooth_step(1 - oval_depth() / (RIM_WIDTH * ATLAS_SIDE))
