"""A camera's view of a flat picture: an overscanned, anti-aliased planar warp."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from services.creation.effects.camera_path import CameraPose, Matrix
from shared.arrays import Image

SUPERSAMPLING = 2  # every frame pixel is the mean of 2x2 samples
USABLE = 1.5  # times the sides of the largest frame that a picture holds: what lies beyond is never seen


class Viewport:
    """Frames of `size` (width, height) seen along `path` in pictures of the size `source` (width, height).

    The picture is magnified just enough that no frame of the path shows anything beyond its edges. Where the picture
    is wider or higher than the frame's shape, the camera moves over that part too.
    """

    def __init__(self, path: Sequence[CameraPose], *, source: tuple[int, int], size: tuple[int, int]) -> None:
        self._size = size
        self._views = [pose.homography(*size) for pose in path]
        scale = min(_largest_scale(view, source, size) for view in self._views)  # picture pixels a frame pixel
        finest = scale * math.exp(-max(pose.zoom for pose in path))
        density = SUPERSAMPLING / finest
        self._sampled_size = max(1, round(source[0] * density)), max(1, round(source[1] * density))
        self._scale = scale * self._sampled_size[0] / source[0], scale * self._sampled_size[1] / source[1]

    def supersample(self, picture: Image) -> Image:
        """Resample a picture (H, W, 3) to the density at which the closest frame of the path samples it."""
        return resize(picture, self._sampled_size)

    def render(self, supersampled: Image, index: int) -> Image:
        """Return the frame (height, width, 3) at `index` of the path, from what `supersample` returned."""
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
                [self._scale[0], 0, (self._sampled_size[0] - 1) / 2],
                [0, self._scale[1], (self._sampled_size[1] - 1) / 2],
                [0, 0, 1],
            ]
        )
        samples = cv2.warpPerspective(
            supersampled,
            to_picture @ self._views[index] @ to_frame,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return resize(np.asarray(samples, np.uint8), self._size)


def trim(picture: Image, size: tuple[int, int]) -> Image:
    """Crop what no camera over a frame of `size` (width, height) ever shows: the far ends of a panorama."""
    height, width = picture.shape[:2]
    scale = USABLE * min(width / size[0], height / size[1])
    crop_width, crop_height = min(width, math.ceil(scale * size[0])), min(height, math.ceil(scale * size[1]))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return picture[top : top + crop_height, left : left + crop_width]


def cover(picture: Image, size: tuple[int, int]) -> Image:
    """Crop the middle of a picture (H, W, 3) to the shape of `size` (width, height) and resize it to that."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1])
    crop_width, crop_height = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return resize(picture[top : top + crop_height, left : left + crop_width], size)


def resize(picture: Image, size: tuple[int, int]) -> Image:
    """Resize to (width, height): averaged by area when smaller, with a Lanczos kernel when larger."""
    if picture.shape[1::-1] == size:
        return picture
    smaller = size[0] <= picture.shape[1]
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4)
    return np.asarray(resized, dtype=np.uint8)


def _largest_scale(view: Matrix, source: tuple[int, int], size: tuple[int, int]) -> float:
    """Return how many picture pixels a frame pixel may cover for the frame's corners to lie in the picture."""
    half_width, half_height = size[0] / 2, size[1] / 2
    corners = np.array([[x, y, 1.0] for x in (-half_width, half_width) for y in (-half_height, half_height)]).T
    seen = view @ corners
    farthest_x, farthest_y = np.abs(seen[:2] / seen[2]).max(axis=1)
    return float(min(source[0] / 2 / farthest_x, source[1] / 2 / farthest_y))
