"""Where the camera is at every frame: a path of poses, and each pose as a planar homography.

Amplitudes are fractions of the frame, so a move looks the same at every size. The seed chooses the easing of a
move and its exact amplitude; without a camera it chooses the whole path.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.creation.camera import Camera

Matrix = NDArray[np.float64]

# How far a camera move goes over a clip, by `movement`; each step at least a third above the one before it.
CAMERA_AMPLITUDE = (0.035, 0.06, 0.095, 0.14, 0.20)
# The same for the slow drift over a picture when no camera was asked; at 0 it is nearly still.
DRIFT_AMPLITUDE = (0.003, 0.012, 0.022, 0.036, 0.055)

ZOOM_PER_AMPLITUDE = 1.6  # natural logarithm of the zoom at amplitude 1: 0.20 is a zoom by 1.38
ROTATION_PER_AMPLITUDE = 1.0  # radians at amplitude 1: a corner travels as far as in a pan
TILT_PER_AMPLITUDE = 1.5  # times a pan upwards of the same amplitude: what shows a tilt is its keystone
FOCAL_LENGTH = 1.8  # of the tilting camera, in frame heights: a 16:9 frame sees 53 degrees across
SPREAD = 0.05  # how far a seed changes the amplitude: by less than half of the smallest step of `movement`


@dataclass(frozen=True)
class CameraPose:
    """Where the camera is: relative to the middle of the picture, y downwards, angles in radians."""

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
        # A ray (x, y, focal) is turned upwards and meets the picture's plane again at the focal length.
        tilted = np.diag([focal, focal, 1.0]) @ lift @ lens / focal
        place = np.array([[shrink, 0.0, self.x * width], [0.0, shrink, self.y * height], [0.0, 0.0, 1.0]])
        matrix: Matrix = place @ turn @ tilted
        return matrix


def camera_path(camera: Camera, movement: int, seed: int, count: int) -> list[CameraPose]:
    """Return `count` poses that move as `camera` says, symmetrically about the middle of the picture."""
    random = _random(seed)
    amplitude = CAMERA_AMPLITUDE[movement] * (1 + SPREAD * random.uniform(-1, 1))
    easing = random.uniform(0.35, 0.85)
    poses = []
    for time in _times(count):
        offset = (1 - easing) * time + easing * _smoothstep(time) - 0.5  # -0.5 to 0.5, at no frame at rest
        poses.append(
            CameraPose(
                zoom=ZOOM_PER_AMPLITUDE * amplitude * (camera.zoom * offset + 0.5 * abs(camera.zoom)),
                x=amplitude * camera.pan_x * offset,
                y=-amplitude * camera.pan_y * offset,
                tilt=math.atan(TILT_PER_AMPLITUDE * amplitude * camera.tilt * offset / FOCAL_LENGTH),
                rotation=ROTATION_PER_AMPLITUDE * amplitude * camera.rotate * offset,
            )
        )
    return poses


def drift_path(movement: int, seed: int, count: int) -> list[CameraPose]:
    """Return `count` poses that drift slowly along an arc with a little zoom, as a camera held still by hand does."""
    random = _random(seed)
    amplitude = DRIFT_AMPLITUDE[movement]
    heading, bend = random.uniform(0, 2 * math.pi), random.uniform(-1, 1)
    closer = random.choice((-1.0, 1.0))
    sway_phase, sway_turns = random.uniform(0, 2 * math.pi), random.uniform(0.8, 1.3)
    poses = []
    for time in _times(count):
        offset = time - 0.5
        course = heading + bend * offset
        sway = math.sin(2 * math.pi * sway_turns * time + sway_phase)
        poses.append(
            CameraPose(
                zoom=amplitude * (closer * offset + 0.5),
                x=0.6 * amplitude * offset * math.cos(course) - 0.08 * amplitude * sway * math.sin(course),
                y=0.6 * amplitude * offset * math.sin(course) + 0.08 * amplitude * sway * math.cos(course),
                rotation=0.1 * amplitude * sway,
            )
        )
    return poses


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed % 2**64)


def _times(count: int) -> Sequence[float]:
    """Return the time of every frame, from 0 at the first to 1 at the last."""
    return [index / max(1, count - 1) for index in range(count)]


def _smoothstep(time: float) -> float:
    return time * time * (3 - 2 * time)
