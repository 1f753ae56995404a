"""The aligned chip that a restorer takes: cut out of a frame, and what has become of it taken back.

Only the chip and the face's region are touched; the size of the frame does not matter.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from services.facefusion.face import Face, Float, umeyama_transform
from services.facefusion.restoration.restorer import Interface
from services.facefusion.swapper import Patch
from shared.arrays import Image

Matrix = npt.NDArray[np.float64]  # (2, 3), from pixels to pixels

FEWER = 0.67  # pixels of the result for one of the source: below that, averages are taken and not samples
FADE = 0.06  # of the chip's side: the width over which what is taken back fades at its border


@dataclass(frozen=True)
class Alignment:
    """Where a chip lies in a frame."""

    matrix: Matrix  # from pixels of the frame to those of the chip
    side: int  # of the chip, in pixels

    @classmethod
    def of(cls, face: Face, interface: Interface) -> "Alignment":
        """Align a face for a restorer."""
        return cls(umeyama_transform(face.landmarks5, interface.template), interface.side)

    def cut(self, image: Image, patch: Patch | None) -> Float:
        """Return the chip (side, side, 3) RGB 0-255 of a frame, with a patch pasted over it."""
        size = (self.side, self.side)
        chip = warped(image, self.matrix, size, cv2.BORDER_REPLICATE).astype(np.float32)
        if patch is None:
            return chip
        matrix = self.matrix.copy()
        matrix[:, 2] += self.matrix[:, :2] @ np.array([patch.x, patch.y], np.float64)
        mask = warped(patch.mask, matrix, size, cv2.BORDER_CONSTANT)[..., None]
        pixels = warped(patch.pixels, matrix, size, cv2.BORDER_REPLICATE)
        return np.asarray(chip + mask * (pixels - chip), np.float32)

    def back(self, detail: Float, patch: Patch) -> Float:
        """Take a chip's detail (side, side, 3) to the (h, w, 3) pixels of a patch; 0 beyond the chip."""
        inverse = np.asarray(cv2.invertAffineTransform(self.matrix), np.float64)
        inverse[:, 2] -= [patch.x, patch.y]
        height, width = patch.mask.shape
        return warped(detail * border_fade(self.side), inverse, (width, height), cv2.BORDER_CONSTANT)


def warped(picture: npt.NDArray[Any], matrix: Matrix, size: tuple[int, int], border: int) -> Float:
    """Warp a picture to (width, height); where its pixels are much smaller than the result's they are averaged first.

    A coordinate is the middle of a pixel.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < FEWER:
        picture, matrix = reduced(picture, matrix, size, scale)
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border))


def reduced(
    picture: npt.NDArray[Any], matrix: Matrix, size: tuple[int, int], scale: float
) -> tuple[npt.NDArray[Any], Matrix]:
    """Return the part of a picture that is needed, about `scale` times as large, and the matrix from there.

    Averages are taken over the same pixels whichever part is needed: a part that moves does not shimmer.
    """
    step = max(round(1 / scale), 1)  # pixels of the picture in one of the small one
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [size[0], 0, 1], [0, size[1], 1], [*size, 1]], np.float64) @ inverse.T
    most = np.maximum(np.array([picture.shape[1], picture.shape[0]]) // step, 1)
    low = np.clip(np.floor(corners.min(0) / step) - 2, 0, most - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0) / step) + 2, low + 1, most).astype(int)
    part = picture[low[1] * step : high[1] * step, low[0] * step : high[0] * step]
    width, height = (high - low).tolist()
    averaged = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    moved = matrix.copy()
    moved[:, :2] = matrix[:, :2] * step
    moved[:, 2] += matrix[:, :2] @ (low * step + (step - 1) / 2)
    return np.asarray(averaged), moved


@cache
def border_fade(side: int) -> Float:
    """(side, side, 1): 1 in the middle of a chip, fading to 0 at its border."""
    place = np.arange(side, dtype=np.float32) + 0.5
    ramp = np.clip(np.minimum(place, side - place) / (FADE * side), 0, 1)
    fade = np.minimum(ramp[:, None], ramp[None])[..., None]
    fade.setflags(write=False)
    return np.asarray(fade, np.float32)
