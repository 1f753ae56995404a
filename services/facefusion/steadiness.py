"""Whether a face's landmarks hold: on drawn and animals' faces, and on profiles, they move when the crop moves.

The landmark network answers for whatever it is shown, and its own score does not tell (it is 0.98 and more on some
animals). But only on a face that it knows does it put the same point in the same place again when the crop around the
face is shifted, scaled or turned a little. Where it does not, a swap would be a smear.

Measured on the catalogue's people, on 97 faces of 25 pixels and on the animals of `clip-bigbuckbunny`: people 0.005 to
0.019 of the face, animals 0.029 to 0.065. One of the faces of 25 pixels is at 0.028.
"""

from collections.abc import Callable
from itertools import starmap

import numpy as np

from services.facefusion.face import Face, Float
from services.facefusion.landmarks import LandmarkFinder, crop_of_landmarks, crop_of_landmarks5
from shared.arrays import Image

# Shift in x and y in sides of the crop, scale, turn in radians. As large as the errors of a detector's five points.
MOVES = (
    *((0.06, 0.0, 1.0, 0.0), (-0.06, 0.0, 1.0, 0.0), (0.0, 0.06, 1.0, 0.0), (0.0, -0.06, 1.0, 0.0)),
    *((0.0, 0.0, 1.12, 0.0), (0.0, 0.0, 0.9, 0.0), (0.0, 0.0, 1.0, 0.15), (0.0, 0.0, 1.0, -0.15)),
)
MOST = 0.024  # of the face's diagonal: landmarks that move by more in the mean do not hold
SURE = 0.9  # the score of YuNet from which on a face is a person's and is not examined; animals had 0.87 at most
EVERY = 12  # frames between two looks at a face of a video whose landmarks have not held yet

Holds = Callable[[Image, Face], bool]


def unsteadiness(image: Image, face: Face, finder: LandmarkFinder) -> float:
    """How far the 468 landmarks of a face move when the crop around them does: mean, as a share of their diagonal.

    Ten runs of the network, about 40 ms of CPU time.
    """
    rough, _ = finder(image, crop_of_landmarks5(face.landmarks5))
    crop = crop_of_landmarks(rough)
    landmarks, _ = finder(image, crop)
    found = [finder(image, moved)[0] for moved in starmap(_mover(crop), MOVES)]
    away = np.linalg.norm((np.array(found) - landmarks)[..., :2], axis=2)
    return float(away.mean()) / max(float(np.linalg.norm(np.ptp(landmarks[:, :2], axis=0))), 1.0)


def examiner(finder: LandmarkFinder) -> Holds:
    """Return what tells whether the landmarks of a face that YuNet found hold."""

    def holds(image: Image, face: Face) -> bool:
        return face.score >= SURE or unsteadiness(image, face, finder) <= MOST

    return holds


def _mover(crop: Float) -> Callable[[float, float, float, float], Float]:
    x, y, side, angle = (float(value) for value in crop)

    def moved(right: float, down: float, scale: float, turn: float) -> Float:
        return np.array([x + right * side, y + down * side, side * scale, angle + turn], np.float32)

    return moved
