"""Where the new face is shown: inside the oval with a soft edge, not over eyes and mouth."""

from functools import cache

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.landmarks import INNER_LIPS, LEFT_EYE, OVAL, RIGHT_EYE
from services.facefusion.mesh import Region, contour_mask, from_atlas
from services.facefusion.occlusion import ATLAS_SIDE

FEATHER = 0.03  # of the face's height: the width over which the edge of the face fades


@cache
def oval_fade() -> Float:
    """Return the soft edge in the atlas: 1 well inside the oval, 0 at its rim."""
    return smooth_step((oval_depth() - 1) / (FEATHER * ATLAS_SIDE * 1.6))


@cache
def oval_depth() -> Float:
    """Return how far inside the oval each pixel of the atlas lies, in pixels; 0 outside."""
    oval = contour_mask(ATLAS_SIDE, OVAL)
    depth = cv2.distanceTransform(np.pad((oval > 0).astype(np.uint8), 1), cv2.DIST_L2, 5)
    return np.asarray(depth[1:-1, 1:-1], np.float32)


def smooth_step(values: Float) -> Float:
    """Rise from 0 to 1 between 0 and 1, level at both ends."""
    ramp = np.clip(values, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def blend(region: Region, landmarks: Float, shown: Float) -> Float:
    """Return a region's mask, 0-1: the oval's soft edge, holes for eyes and mouth, times `shown` (h, w)."""
    width, height = region.size
    scale = float(np.ptp(landmarks[:, 1]))
    edge = np.minimum(from_atlas(oval_fade(), region), soft_inside(region.covered, scale * FEATHER))
    holes = np.zeros((height, width), np.float32)
    corner = np.array([region.x, region.y], np.float32)
    for contour, grow in ((LEFT_EYE, 0.004), (RIGHT_EYE, 0.004), (INNER_LIPS, 0.004)):
        spots = np.round((landmarks[list(contour), :2] - corner) * 16).astype(np.int32)
        cv2.fillPoly(holes, [spots], 1, lineType=cv2.LINE_AA, shift=4)
        thick = max(round(scale * grow * 2), 1)
        cv2.polylines(holes, [spots], True, 1, thick, lineType=cv2.LINE_AA, shift=4)
    sigma = max(scale * 0.006, 0.6)
    soft = cv2.GaussianBlur(holes, (0, 0), sigma)
    return np.asarray(edge * (1 - np.clip(soft, 0, 1)) * shown * region.covered, np.float32)


def soft_inside(covered: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], width: float) -> Float:
    """0 at the silhouette, 1 from `width` pixels inside it."""
    depth = cv2.distanceTransform(np.pad(covered.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    return smooth_step(np.asarray((depth - 1) / max(width, 1.0), np.float32))
