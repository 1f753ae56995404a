"""The 468 landmarks of a face (Google's face mesh)."""

from pathlib import Path

import cv2
import numpy as np

from services.facefusion.face import Float
from shared.arrays import Image

CROP_SIDE = 192  # pixels of the crop that the network sees
MARGIN = 1.5  # side of the crop over the longer side of the face, as in the network's training
COUNT = 468

# Contours as indices into the 468 landmarks, each in drawing order; left and right as in the image of a frontal face.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
LEFT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
RIGHT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)


class LandmarkFinder:
    """`finder(image, crop) -> (landmarks, presence)`: (468, 3) float32 in frame pixels; presence is a 0-1 score.

    z is on the scale of x, smaller nearer to the camera.
    """

    def __init__(self, weights: Path) -> None:
        self._network = cv2.dnn.readNetFromTFLite(str(weights))

    def __call__(self, image: Image, crop: Float) -> tuple[Float, float]:
        """Find the landmarks in `crop` (x, y, side in pixels, angle in radians), a square turned with the face."""
        matrix = crop_matrix(crop)
        chip = cv2.warpAffine(
            image, matrix, (CROP_SIDE, CROP_SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        self._network.setInput(cv2.dnn.blobFromImage(chip, 1 / 255))
        found, presence = self._network.forward(["conv2d_20", "conv2d_30"])
        points = found.reshape(COUNT, 3).astype(np.float32)
        inverse = cv2.invertAffineTransform(matrix)
        flat = points[:, :2] @ inverse[:, :2].T + inverse[:, 2]
        depth = points[:, 2:] * (crop[2] / CROP_SIDE)
        score = 1 / (1 + np.exp(-float(presence.ravel()[0])))
        return np.concatenate([flat, depth], 1).astype(np.float32), score


def crop_matrix(crop: Float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the 2 x 3 map from frame pixels to the crop's 192 x 192."""
    x, y, side, angle = (float(value) for value in crop)
    cos, sin = np.cos(-angle) * CROP_SIDE / side, np.sin(-angle) * CROP_SIDE / side
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = np.array([CROP_SIDE / 2, CROP_SIDE / 2]) - turn @ np.array([x, y])
    return np.hstack([turn, shift[:, None]])


def crop_of_landmarks5(landmarks5: Float) -> Float:
    """Estimate the crop from a detector's five landmarks: the eyes give the angle, eyes and mouth the scale."""
    eyes, mouth = landmarks5[:2].mean(0), landmarks5[3:].mean(0)
    across = landmarks5[1] - landmarks5[0]
    length = max(float(np.linalg.norm(across)) * 1.05, float(np.linalg.norm(mouth - eyes)))
    centre = eyes + (mouth - eyes) * 0.45
    return np.array([*centre, length * 3.9, np.arctan2(across[1], across[0])], np.float32)


def crop_of_landmarks(landmarks: Float) -> Float:
    """Return the crop around 468 known landmarks: turned by the line of the eyes, 1.5 times the longer side."""
    across = landmarks[263, :2] - landmarks[33, :2]
    angle = float(np.arctan2(across[1], across[0]))
    cos, sin = np.cos(angle), np.sin(angle)
    upright = landmarks[:, :2] @ np.array([[cos, -sin], [sin, cos]])
    low, high = upright.min(0), upright.max(0)
    centre = np.array([[cos, -sin], [sin, cos]]) @ ((low + high) / 2)
    return np.array([*centre, float((high - low).max()) * MARGIN, angle], np.float32)


def opening(landmarks: Float, contour: tuple[int, ...]) -> float:
    """How far an eye or a mouth is open: the area of its contour over the square of its width; 0 is shut."""
    spots = landmarks[list(contour), :2]
    width = float(np.linalg.norm(spots[0] - spots[len(spots) // 2]))
    return float(cv2.contourArea(spots.astype(np.float32))) / max(width * width, 1e-6)
