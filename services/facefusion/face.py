"""A detected face, and the geometry that every part of the service shares."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from shared.arrays import Image

Float = npt.NDArray[np.float32]

# The five landmarks of a frontal face in a 112 x 112 chip: the alignment that ArcFace-trained embedders expect.
# In image order: left eye, right eye, nose tip, left and right corner of the mouth.
ARCFACE_112: Float = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)


@dataclass(frozen=True)
class Face:
    """One face in one frame, in pixels of that frame."""

    bbox: Float  # (4,) x1, y1, x2, y2; may extend beyond the frame
    landmarks5: Float  # (5, 2) in the order of ARCFACE_112
    score: float  # 0-1, the detector's confidence

    @property
    def size(self) -> Float:
        """(width, height) of the box in pixels."""
        return self.bbox[2:] - self.bbox[:2]

    @property
    def area(self) -> float:
        """Box area in square pixels."""
        return float(np.prod(np.maximum(self.size, 0)))

    @property
    def centre(self) -> Float:
        """(x, y) of the middle of the box in pixels."""
        return np.asarray((self.bbox[:2] + self.bbox[2:]) / 2, np.float32)


def umeyama_transform(points: Float, template: Float) -> npt.NDArray[np.float64]:
    """Least-squares similarity transform (2 x 3) that takes `points` (n, 2) to `template` (n, 2).

    Rotation, one scale and shift, never a reflection (Umeyama 1991, equations 40 to 43); two points are enough.
    """
    mean = np.asarray(points.mean(0), np.float64)
    target = np.asarray(template.mean(0), np.float64)
    centred = np.asarray(points - mean, np.float64)
    wanted = np.asarray(template - target, np.float64)
    u, spread, vt = np.linalg.svd(wanted.T @ centred / len(points))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((spread * sign).sum() / centred.var(0).sum())
    return np.hstack([scale * rotation, (target - scale * rotation @ mean)[:, None]])


def align(image: Image, landmarks5: Float) -> Image:
    """Cut out the aligned face (112 x 112 RGB) that embedders take."""
    matrix = umeyama_transform(landmarks5, ARCFACE_112)
    return np.asarray(cv2.warpAffine(image, matrix, (112, 112), flags=cv2.INTER_LINEAR), np.uint8)


def iou(one: Float, other: Float) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2), 0-1."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    total = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / total if total > 0 else 0.0
