"""A camera's view of a flat picture: an overscanned, anti-aliased planar warp."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.effects.camera_path import Matrix, Pose

Image = NDArray[np.uint8]
SUPERSAMPLING = 2  # every frame pixel is the mean of 2x2 samples
SPARE = 1.5  # how much longer than the frame's shape a picture may be and still be of use


class Viewfinder:
    """Frames of `size` (width, height) seen along `path` in pictures of the size `source` (width, height).

    The picture is magnified just so much that no frame of the path looks past its edges; what it has to spare beyond
    the frame's aspect ratio is room to move in.
    """

    def __init__(self, path: Sequence[Pose], *, source: tuple[int, int], size: tuple[int, int]) -> None:
        self._size = size
        self._views = [pose.homography(*size) for pose in path]
        scale = min(_largest_scale(view, source, size) for view in self._views)  # picture pixels a frame pixel
        finest = scale * math.exp(-max(pose.zoom for pose in path))
        density = SUPERSAMPLING / finest
        self._developed = max(1, round(source[0] * density)), max(1, round(source[1] * density))
        self._scale = scale * self._developed[0] / source[0], scale * self._developed[1] / source[1]

    def develop(self, picture: Image) -> Image:
        """Resample a picture (H, W, 3) once to the density that the nearest frame of the path samples it at."""
        return resize(picture, self._developed)

    def look(self, developed: Image, index: int) -> Image:
        """Return the frame (height, width, 3) at `index` of the path over a developed picture."""
        width, height = self._size[0] * SUPERSAMPLING, self._size[1] * SUPERSAMPLING
        half = (SUPERSAMPLING - 1) / 2  # pixel centres lie at whole numbers: sample 0.5 is the middle of frame pixel 0
        to_frame = np.array(
            [
                [1 / SUPERSAMPLING, 0, -half / SUPERSAMPLING - (self._size[0] - 1) / 2],
                [0, 1 / SUPERSAMPLING, -half / SUPERSAMPLING - (self._size[1] - 1) / 2],
                [0, 0, 1],
            ]
        )
        to_picture = np.array(
            [
                [self._scale[0], 0, (self._developed[0] - 1) / 2],
                [0, self._scale[1], (self._developed[1] - 1) / 2],
                [0, 0, 1],
            ]
        )
        samples = cv2.warpPerspective(
            developed,
            to_picture @ self._views[index] @ to_frame,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return resize(np.asarray(samples, np.uint8), self._size)


def trim(picture: Image, size: tuple[int, int]) -> Image:
    """Cut off what no camera over a frame of `size` (width, height) ever reaches: the far ends of a panorama."""
    height, width = picture.shape[:2]
    scale = SPARE * min(width / size[0], height / size[1])
    wide, high = min(width, math.ceil(scale * size[0])), min(height, math.ceil(scale * size[1]))
    left, top = (width - wide) // 2, (height - high) // 2
    return picture[top : top + high, left : left + wide]


def cover(picture: Image, size: tuple[int, int]) -> Image:
    """Fill `size` (width, height) with the middle of a picture (H, W, 3)."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1])
    wide, high = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
    left, top = (width - wide) // 2, (height - high) // 2
    return resize(picture[top : top + high, left : left + wide], size)


def resize(picture: Image, size: tuple[int, int]) -> Image:
    """Resize to (width, height): by area when smaller, with a Lanczos kernel when larger."""
    if picture.shape[1::-1] == size:
        return picture
    smaller = size[0] <= picture.shape[1]
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4)
    return np.asarray(resized, dtype=np.uint8)


def _largest_scale(view: Matrix, source: tuple[int, int], size: tuple[int, int]) -> float:
    """Return how many picture pixels a frame pixel may cover so that the frame's corners lie in the picture."""
    reach_x, reach_y = size[0] / 2, size[1] / 2
    corners = np.array([[x, y, 1.0] for x in (-reach_x, reach_x) for y in (-reach_y, reach_y)]).T
    seen = view @ corners
    farthest_x, farthest_y = np.abs(seen[:2] / seen[2]).max(axis=1)
    return float(min(source[0] / 2 / farthest_x, source[1] / 2 / farthest_y))
