"""A face that is only to be restored: the swapper that swaps nothing.

It says where the face is and what is in front of it. Its patch adds nothing, so that a frame keeps its exact values,
those of 16 bits as well, but for what a restorer adds.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from services.facefusion.classic import to_lab
from services.facefusion.face import Face, Float
from services.facefusion.landmarks import OVAL
from services.facefusion.mesh import Region, bounds, from_atlas, rasterise, to_atlas
from services.facefusion.occluder import covering
from services.facefusion.occlusion import ATLAS_SIDE, OcclusionMemory
from services.facefusion.swapper import Patch, Steps, View, at_once
from shared.arrays import Image

FEATHER = 0.05  # of the face's height: the width over which the edge fades
AROUND = 0.04  # of the face's height: how far eyes and mouth look for what covers the skin beside them


class KeptFace:
    """The `Swapper` and the prepared source of this module: there is no source person."""

    name = "none"

    def prepare(self, image: Image, view: View) -> "KeptFace":  # noqa: ARG002  # as others need it
        """Return itself: nothing of another person is needed."""
        return self

    def renderer(self, remembered: OcclusionMemory | None = None) -> "KeptFaceRenderer":
        """Return a renderer for one track."""
        return KeptFaceRenderer(remembered or OcclusionMemory())


def nobody() -> tuple[Image, View]:
    """Return what a swapper that needs no source is given to prepare: a blank picture."""
    points = np.zeros((468, 3), np.float32)
    return np.zeros((1, 1, 3), np.uint8), View(Face(np.zeros(4, np.float32), points[:5, :2], 0.0), points)


@dataclass
class KeptFaceRenderer:
    """Finds one track's face, frame after frame."""

    remembered: OcclusionMemory = field(default_factory=OcclusionMemory)

    def __call__(self, image: Image, view: View) -> Patch | None:
        """Return a patch that adds nothing, over what can be seen of the face; None when nothing can."""
        return at_once(self.steps(image, view))

    def steps(self, image: Image, view: View) -> Steps:
        """Do so in two steps: what is in front of the face, and the mask."""
        shape = (image.shape[0], image.shape[1])
        if bounds(view.landmarks, shape) is None:
            return None
        if view.fresh:
            self.remembered = OcclusionMemory()
        seen = to_lab(to_atlas(image, view.landmarks, ATLAS_SIDE))
        clear = self.remembered.update(seen, covering(seen))
        yield
        region = rasterise(view.landmarks, shape)
        if region is None or not region.covered.any():
            return None
        mask = whole_face(region, view.landmarks) * uncovered(clear, region, view.landmarks)
        nothing = np.zeros((*mask.shape, 3), np.float32)
        return Patch(region.x, region.y, nothing, np.asarray(mask * view.opacity, np.float32), added=True)


def whole_face(region: Region, landmarks: Float) -> Float:
    """Return the oval in a region, eyes and mouth included: 1 well inside, 0 at its rim and outside."""
    width, height = region.size
    inside = np.zeros((height, width), np.uint8)
    corner = np.array([region.x, region.y], np.float32)
    cv2.fillPoly(inside, [np.round((landmarks[list(OVAL), :2] - corner) * 16).astype(np.int32)], 1, shift=4)
    depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    ramp = np.clip((depth - 1) / max(FEATHER * float(np.ptp(landmarks[:, 1])), 1.0), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def uncovered(clear: Float, region: Region, landmarks: Float) -> Float:
    """Take `clear` (the atlas, 1 where nothing is in front) to a region; the mesh's holes have what is around them."""
    covered = region.covered.astype(np.float32)
    shown = from_atlas(np.ascontiguousarray(clear), region) * covered
    sigma = max(AROUND * float(np.ptp(landmarks[:, 1])), 1.0)
    near = cv2.GaussianBlur(shown, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(covered, (0, 0), sigma), 1e-3)
    return np.asarray(np.where(region.covered, shown, np.clip(near, 0, 1)), np.float32)
