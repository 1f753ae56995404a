"""Camera motion: how far a clip already moves as asked, and a warp that adds what is missing.

A prompt alone moves the camera in about half of all clips; measured and completed, it moves in all of them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.camera import Camera
from services.creation.effects.camera_path import FOCAL_LENGTH, CameraPose
from services.creation.effects.viewport import Viewport
from services.creation.memory import Memory
from shared.arrays import Image

Grey = NDArray[np.uint8]  # (height, width)
Points = NDArray[np.float32]  # (N, 2), pixels

MEASURED_WIDTH = 320  # pixels; motion is a fraction of the frame, whatever its size
POINTS = 400
MIN_DISTANCE = 7  # pixels between two points
OUTLIER = 1.0  # pixels beyond which a point does not move with the camera
MIN_POINTS = 20  # that must agree before it is called a camera's motion
MIN_AGREEING = 0.5  # of all tracked points, likewise
NEGLIGIBLE = 0.05  # of a move: not worth resampling a clip for
LARGEST = 2.0  # times a move: a clip that moves the wrong way is turned around, but not beyond this


def missing_motion(path: Sequence[CameraPose], measured: CameraPose, camera: Camera) -> list[CameraPose]:
    """Return the path that adds to a clip what its `measured` motion lacks of `path`, axis by axis."""
    first, last = path[0], path[-1]
    upward = last.y - first.y - FOCAL_LENGTH * (math.tan(last.tilt) - math.tan(first.tilt))  # a tilt moves the view too
    zoom = _missing_share(last.zoom - first.zoom, measured.zoom)
    x = _missing_share(last.x - first.x, measured.x)
    y = _missing_share(upward, measured.y)
    rotation = _missing_share(last.rotation - first.rotation, measured.rotation)
    tilt = y if camera.tilt else 0.0
    return [
        CameraPose(
            zoom=zoom * pose.zoom,
            x=x * pose.x,
            y=y * pose.y,
            tilt=tilt * pose.tilt,
            rotation=rotation * pose.rotation,
        )
        for pose in path
    ]


def warp(
    images: Iterable[Image], path: Sequence[CameraPose], size: tuple[int, int], memory: Memory | None = None
) -> Iterator[Image]:
    """Yield frames seen by a camera that moves along `path` over them; the frames themselves where it does not move."""
    if path[0] == path[-1]:
        yield from images
        return
    viewport = Viewport(path, source=size, size=size)
    for index, image in (memory or Memory()).numbered("camera", images):
        yield viewport.render(viewport.supersample(image), min(index, len(path) - 1))


def measure_motion(images: Sequence[Image]) -> CameraPose:
    """Return how far the camera moves over a clip, as the difference of two poses; all zero where points disagree."""
    total = CameraPose()
    before = None
    for image in images:
        now = _small_grey(image)
        if before is not None:
            motion = _motion_between(before, now)
            total = replace(
                total,
                zoom=total.zoom + motion.zoom,
                x=total.x + motion.x,
                y=total.y + motion.y,
                rotation=total.rotation + motion.rotation,
            )
        before = now
    return total


def _missing_share(wanted: float, measured: float) -> float:
    """Return the share of a wanted motion that is missing, from 0 to 2; 0 where none is wanted."""
    if wanted == 0:
        return 0.0
    share = min(max(1 - measured / wanted, 0.0), LARGEST)
    return share if share >= NEGLIGIBLE else 0.0


def _small_grey(image: Image) -> Grey:
    height, width = image.shape[:2]
    size = MEASURED_WIDTH, max(16, round(height * MEASURED_WIDTH / width))
    return np.asarray(cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA), np.uint8)


def _motion_between(before: Grey, now: Grey) -> CameraPose:
    """Fit one similarity to the points that can be tracked forward and back; RANSAC drops those that move otherwise."""
    corners = cv2.goodFeaturesToTrack(before, POINTS, 0.01, MIN_DISTANCE)
    if corners is None or len(corners) < MIN_POINTS:  # without texture OpenCV returns None
        return CameraPose()
    points: Points = np.asarray(corners, np.float32).reshape(-1, 2)
    forward, found = _track(before, now, points)
    back, found_again = _track(now, before, forward)
    consistent = found & found_again & (np.abs(points - back).max(axis=1) < OUTLIER)
    if consistent.sum() < MIN_POINTS:
        return CameraPose()
    height, width = before.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2], np.float32)
    matrix, inliers = cv2.estimateAffinePartial2D(
        points[consistent] - centre, forward[consistent] - centre, ransacReprojThreshold=OUTLIER
    )
    if matrix is None or np.sum(inliers) < max(MIN_POINTS, MIN_AGREEING * len(points)):
        return CameraPose()
    # The content moves against the camera, and grows as the camera comes nearer.
    return CameraPose(
        zoom=math.log(math.hypot(matrix[0, 0], matrix[1, 0])),
        x=-matrix[0, 2] / width,
        y=-matrix[1, 2] / height,
        rotation=-math.atan2(matrix[1, 0], matrix[0, 0]),
    )


def _track(before: Grey, now: Grey, points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Return where points of `before` are in `now`, (N, 2), and which of them were found."""
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points, np.empty_like(points))
    return np.asarray(moved, np.float32), np.asarray(found, np.bool_).ravel()
