"""Where the camera stands at every frame: a path of poses, and each pose as a planar homography.

Amplitudes are fractions of the frame, so a move looks the same at every size. The seed chooses how a move eases and
how far exactly it goes; without a camera it chooses the whole path.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.creation.camera import Camera

Matrix = NDArray[np.float64]

# How far a camera move goes over a clip, by `movement`; each step at least a third above the one before it.
CAMERA_REACH = (0.035, 0.06, 0.095, 0.14, 0.20)
# The same for the slow drift that keeps a picture alive when no camera was asked; 0 is nearly still.
LIVING_REACH = (0.003, 0.012, 0.022, 0.036, 0.055)

ZOOM_PER_REACH = 1.6  # natural logarithm of the zoom at reach 1: 0.20 is a zoom by 1.38
ROTATION_PER_REACH = 1.0  # radians at reach 1: the corner travels as far as in a pan
TILT_PER_REACH = 1.5  # of a pan upwards of the same reach: a tilt lives from its keystone
FOCAL_LENGTH = 1.8  # of the tilting camera, in frame heights: a 16:9 frame sees 53 degrees across
SPREAD = 0.05  # how far a seed moves the reach: less than half of the smallest step


@dataclass(frozen=True)
class Pose:
    """Where the camera stands: relative to the middle of the picture, y downwards, angles in radians."""

    zoom: float = 0.0  # natural logarithm of the magnification
    x: float = 0.0  # of the frame's width, to the right
    y: float = 0.0  # of the frame's height, downwards
    tilt: float = 0.0  # upwards
    rotation: float = 0.0  # clockwise

    def homography(self, width: int, height: int) -> Matrix:
        """Map centred frame pixels to centred picture pixels, (3, 3), at one picture pixel a frame pixel."""
        shrink = math.exp(-self.zoom)
        cosine, sine = math.cos(self.rotation), math.sin(self.rotation)
        turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        focal = FOCAL_LENGTH * height
        lens = np.diag([1.0, 1.0, focal])
        up, level = math.sin(self.tilt), math.cos(self.tilt)
        lift = np.array([[1.0, 0.0, 0.0], [0.0, level, -up], [0.0, up, level]])
        # A ray (x, y, focal) is lifted and meets the picture's plane again at the focal length.
        tilted = np.diag([focal, focal, 1.0]) @ lift @ lens / focal
        place = np.array([[shrink, 0.0, self.x * width], [0.0, shrink, self.y * height], [0.0, 0.0, 1.0]])
        matrix: Matrix = place @ turn @ tilted
        return matrix


def camera_path(camera: Camera, movement: int, seed: int, count: int) -> list[Pose]:
    """Move as `camera` says over `count` frames, symmetrically about the middle of the picture."""
    random = _random(seed)
    reach = CAMERA_REACH[movement] * (1 + SPREAD * random.uniform(-1, 1))
    gentleness = random.uniform(0.35, 0.85)
    poses = []
    for moment in _moments(count):
        way = (1 - gentleness) * moment + gentleness * _smooth(moment) - 0.5  # -0.5 to 0.5, never at rest
        poses.append(
            Pose(
                zoom=ZOOM_PER_REACH * reach * (camera.zoom * way + 0.5 * abs(camera.zoom)),
                x=reach * camera.pan_x * way,
                y=-reach * camera.pan_y * way,
                tilt=math.atan(TILT_PER_REACH * reach * camera.tilt * way / FOCAL_LENGTH),
                rotation=ROTATION_PER_REACH * reach * camera.rotate * way,
            )
        )
    return poses


def living_path(movement: int, seed: int, count: int) -> list[Pose]:
    """Drift slowly along an arc with a breath of zoom, as a hand-held camera does that means to stand still."""
    random = _random(seed)
    reach = LIVING_REACH[movement]
    heading, bend = random.uniform(0, 2 * math.pi), random.uniform(-1, 1)
    closer = random.choice((-1.0, 1.0))
    sway_phase, sway_turns = random.uniform(0, 2 * math.pi), random.uniform(0.8, 1.3)
    poses = []
    for moment in _moments(count):
        way = moment - 0.5
        course = heading + bend * way
        sway = math.sin(2 * math.pi * sway_turns * moment + sway_phase)
        poses.append(
            Pose(
                zoom=reach * (closer * way + 0.5),
                x=0.6 * reach * way * math.cos(course) - 0.08 * reach * sway * math.sin(course),
                y=0.6 * reach * way * math.sin(course) + 0.08 * reach * sway * math.cos(course),
                rotation=0.1 * reach * sway,
            )
        )
    return poses


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed % 2**64)


def _moments(count: int) -> Sequence[float]:
    return [index / max(1, count - 1) for index in range(count)]


def _smooth(moment: float) -> float:
    return moment * moment * (3 - 2 * moment)
