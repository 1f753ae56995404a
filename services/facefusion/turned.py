"""Faces that lie on their side or stand on their head: where it is not sure, the detector sees the picture turned, too.

It finds a lying face in the upright picture, too, but is less sure of it, and its five points are those of an upright
one: the eyes where there are none. Of what it finds at one place in several turns, the surest is right. Everything
behind the detector turns with the five points, so only boxes and points have to be turned back.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from services.facefusion.face import Face, Float, iou
from shared.arrays import Image

Detect = Callable[[Image], list[Face]]

TURNS = (1, 3, 2)  # quarter turns against the clock that bring a face upright, in the order in which they are tried
SURE = 0.92  # score from which on a face is as it seems. Measured: upright 0.94 to 0.95, of lying ones 0.67 to 0.90
LEAST_SCORE = 0.7  # of a face in a turned picture: more than upright, because most of what is found there is none
MARGIN = 0.02  # by which a face's score must be better turned than upright
SAME_PLACE = 0.3  # intersection over union of two boxes of one face
EVERY = 12  # frames of a video for one more detection, in which nothing may be found
FORGOTTEN_AFTER = 12  # frames without a face at the known turn: as long as a gap in a track may be


def found_at_any_angle(detect: Detect, image: Image) -> list[Face]:
    """Detect faces, best score first; where it is not sure of any or of one of them, at all turns: four detections."""
    faces = detect(image)
    if are_sure(faces):
        return faces
    for turn in TURNS:
        faces = merged(faces, at_turn(detect, image, turn))
    return faces


def are_sure(faces: list[Face]) -> bool:
    """Whether there are faces and all of them are as they seem."""
    return bool(faces) and all(face.score >= SURE for face in faces)


def merged(faces: list[Face], turned: list[Face]) -> list[Face]:
    """Return faces with those of another turn that are new or clearly surer, best score first."""
    kept = faces
    for face in turned:
        rivals = [other for other in kept if iou(face.bbox, other.bbox) > SAME_PLACE]
        if all(face.score > other.score + MARGIN for other in rivals):
            kept = [face, *(other for other in kept if all(other is not rival for rival in rivals))]
    return kept if kept is faces else sorted(kept, key=lambda face: -face.score)


def at_turn(detect: Detect, image: Image, turn: int) -> list[Face]:
    """Detect faces that so many quarter turns against the clock bring upright, in pixels of the image as it is."""
    turned = np.ascontiguousarray(np.rot90(image, turn))
    faces = [face for face in detect(turned) if face.score >= LEAST_SCORE]
    return [turned_back(face, turn, (image.shape[1], image.shape[0])) for face in faces]


def turned_back(face: Face, turn: int, size: tuple[int, int]) -> Face:
    """Return a face of `np.rot90(image, turn)` in pixels of the image, whose size is (width, height)."""
    corners = points_back(face.bbox.reshape(2, 2), turn, size)
    bbox = np.concatenate([corners.min(0), corners.max(0)])
    return replace(face, bbox=bbox, landmarks5=points_back(face.landmarks5, turn, size))


def points_back(points: Float, turn: int, size: tuple[int, int]) -> Float:
    """Turn points (n, 2) of the turned image back; pixels are unit squares, so that an edge becomes an edge."""
    width, height = size
    x, y = points[:, 0], points[:, 1]
    match turn % 4:
        case 1:
            back = np.stack([width - y, x], 1)
        case 2:
            back = np.stack([width - x, height - y], 1)
        case 3:
            back = np.stack([y, height - x], 1)
        case _:
            back = points
    return np.asarray(back, np.float32)


@dataclass
class TurnedFaces:
    """Looks for faces at other angles in a video, frame after frame, where the detector is not sure of upright ones.

    Every frame adds to a budget, one more detection for `EVERY` frames and three at most; it begins with three, so that
    a film of a lying face shows it from its first frame on. A find costs three more; from it on each frame is looked
    at, at that turn, until nothing has been found there for a while.
    """

    budget: int = EVERY * len(TURNS)  # in frames
    turn: int = 0  # the known one; 0: none
    missed: int = 0  # frames without a face at the known turn
    tried: int = 0  # detections without a find so far: the next one is at the next turn

    def __call__(self, detect: Detect, image: Image, upright: list[Face]) -> list[Face]:
        """Return the faces of the next frame, given those that were found upright."""
        self.budget = min(self.budget + 1, EVERY * len(TURNS))
        if self.turn:
            return self._at_known_turn(detect, image, upright)
        if are_sure(upright):
            return upright
        for _ in range(min(self.budget // EVERY, len(TURNS))):
            self.budget -= EVERY
            turn = TURNS[self.tried % len(TURNS)]
            if merged(upright, at_turn(detect, image, turn)) is not upright:
                return self._at_the_best_turn(detect, image, upright)
            self.tried += 1
        return upright

    def _at_the_best_turn(self, detect: Detect, image: Image, upright: list[Face]) -> list[Face]:
        """Look at all turns and keep the one with the surest face: upside down it is surer than on its side."""
        found = {turn: at_turn(detect, image, turn) for turn in TURNS}
        self.turn, self.missed = max(TURNS, key=lambda turn: max((one.score for one in found[turn]), default=0.0)), 0
        faces = upright
        for turned in found.values():
            faces = merged(faces, turned)
        return faces

    def _at_known_turn(self, detect: Detect, image: Image, upright: list[Face]) -> list[Face]:
        faces = merged(upright, at_turn(detect, image, self.turn))
        self.missed = self.missed + 1 if faces is upright else 0
        if self.missed > FORGOTTEN_AFTER:
            self.turn = 0
        return faces
