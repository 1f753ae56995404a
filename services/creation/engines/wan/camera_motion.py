"""The camera's share: how far a clip already moves as asked, and a warp that adds what is missing.

A prompt alone moves the camera in about half of all clips; measured and completed, it moves in all of them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.camera import Camera
from services.creation.effects.camera_path import FOCAL_LENGTH, Pose
from services.creation.effects.viewport import Viewfinder
from services.creation.engine import Image

Grey = NDArray[np.uint8]  # (height, width)
Points = NDArray[np.float32]  # (N, 2), pixels

MEASURED_WIDTH = 320  # pixels; motion is a fraction of the frame, whatever its size
POINTS = 400
NEAREST = 7  # pixels between two points
OUTLIER = 1.0  # pixels beyond which a point does not move with the camera
FEWEST = 20  # points, and their share of all, that must agree before it is called a camera's motion
AGREEING = 0.5
NEGLIGIBLE = 0.05  # of a move: not worth resampling a clip for
LARGEST = 2.0  # of a move: a clip that moves the wrong way is turned around, but not beyond this


def missing(path: Sequence[Pose], moved: Pose, camera: Camera) -> list[Pose]:
    """Return the path that adds to a clip which moves by `moved` what it lacks of `path`, axis by axis."""
    first, last = path[0], path[-1]
    upright = last.y - first.y - FOCAL_LENGTH * (math.tan(last.tilt) - math.tan(first.tilt))  # a tilt lifts the view
    zoom = _lacking(last.zoom - first.zoom, moved.zoom)
    x = _lacking(last.x - first.x, moved.x)
    y = _lacking(upright, moved.y)
    rotation = _lacking(last.rotation - first.rotation, moved.rotation)
    tilt = y if camera.tilt else 0.0
    return [
        Pose(
            zoom=zoom * pose.zoom,
            x=x * pose.x,
            y=y * pose.y,
            tilt=tilt * pose.tilt,
            rotation=rotation * pose.rotation,
        )
        for pose in path
    ]


def warped(images: Iterable[Image], path: Sequence[Pose], size: tuple[int, int]) -> Iterator[Image]:
    """Move a camera along `path` over frames that move already; a path that stands still passes them untouched."""
    if path[0] == path[-1]:
        yield from images
        return
    viewfinder = Viewfinder(path, source=size, size=size)
    for index, image in enumerate(images):
        yield viewfinder.look(viewfinder.develop(image), min(index, len(path) - 1))


def measured(images: Sequence[Image]) -> Pose:
    """Return how far the camera goes over a clip, as the difference of two poses; all zero where nothing agrees."""
    total = Pose()
    before = None
    for image in images:
        now = _small(image)
        if before is not None:
            step = _between(before, now)
            total = replace(
                total,
                zoom=total.zoom + step.zoom,
                x=total.x + step.x,
                y=total.y + step.y,
                rotation=total.rotation + step.rotation,
            )
        before = now
    return total


def _lacking(wanted: float, moved: float) -> float:
    """Return the share of a wanted motion that is not there yet, from 0 to 2; 0 where none is wanted."""
    if wanted == 0:
        return 0.0
    share = min(max(1 - moved / wanted, 0.0), LARGEST)
    return share if share >= NEGLIGIBLE else 0.0


def _small(image: Image) -> Grey:
    height, width = image.shape[:2]
    size = MEASURED_WIDTH, max(16, round(height * MEASURED_WIDTH / width))
    return np.asarray(cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA), np.uint8)


def _between(before: Grey, now: Grey) -> Pose:
    """Fit one similarity to what most points do: tracked there and back, the rest left to RANSAC."""
    corners = cv2.goodFeaturesToTrack(before, POINTS, 0.01, NEAREST)
    if corners is None or len(corners) < FEWEST:  # without texture OpenCV answers None
        return Pose()
    points: Points = np.asarray(corners, np.float32).reshape(-1, 2)
    there, found = _followed(before, now, points)
    back, returned = _followed(now, before, there)
    steady = found & returned & (np.abs(points - back).max(axis=1) < OUTLIER)
    if steady.sum() < FEWEST:
        return Pose()
    height, width = before.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2], np.float32)
    matrix, agree = cv2.estimateAffinePartial2D(
        points[steady] - centre, there[steady] - centre, ransacReprojThreshold=OUTLIER
    )
    if matrix is None or np.sum(agree) < max(FEWEST, AGREEING * len(points)):
        return Pose()
    # The content goes one way, the camera the other; it grows as the camera comes nearer.
    return Pose(
        zoom=math.log(math.hypot(matrix[0, 0], matrix[1, 0])),
        x=-matrix[0, 2] / width,
        y=-matrix[1, 2] / height,
        rotation=-math.atan2(matrix[1, 0], matrix[0, 0]),
    )


def _followed(before: Grey, now: Grey, points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Return where points went, (N, 2), and which of them were found again."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points, np.empty_like(points))
    return np.asarray(there, np.float32), np.asarray(found, np.bool_).ravel()
