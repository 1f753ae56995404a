"""What is in front of a face stays the target's when a network's chip is put back over it."""

from dataclasses import replace

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.mesh import from_atlas, rasterise
from services.facefusion.swapper import Patch

AROUND = 0.05  # of the face's height: how far what crosses the oval is followed beyond it


def behind(patch: Patch, clear: Float, landmarks: Float, shape: tuple[int, int]) -> Patch:
    """Open a patch only where nothing covers the face.

    `clear` is in the atlas, 1 where nothing is in front; `landmarks` are (468, 3) in pixels of a (height, width) frame.
    A chip is larger than the mesh: beside the mesh, and in its holes, counts what is nearby in it.
    """
    region = rasterise(landmarks, shape)
    if region is None or clear.min() > 0.99:  # noqa: PLR2004  # nothing is in front
        return patch
    height, width = patch.mask.shape
    known, hidden = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    left, top = region.x - patch.x, region.y - patch.y
    here = np.s_[max(top, 0) : max(top + region.size[1], 0), max(left, 0) : max(left + region.size[0], 0)]
    rows, columns = known[here].shape
    there = np.s_[max(-top, 0) : max(-top, 0) + rows, max(-left, 0) : max(-left, 0) + columns]
    known[here] = region.covered[there]
    hidden[here] = (1 - from_atlas(np.ascontiguousarray(clear), region)[there]) * region.covered[there]
    sigma = max(AROUND * float(np.ptp(landmarks[:, 1])), 1.0)
    near = cv2.GaussianBlur(hidden, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(known, (0, 0), sigma), 1e-3)
    covered = np.where(known > 0, hidden, np.clip(near, 0, 1))
    return replace(patch, mask=np.asarray(patch.mask * (1 - covered), np.float32))
