"""Put a rendered chip back where it came from: only the part of the frame that it covers is touched."""

import cv2
import numpy as np
import numpy.typing as npt

from services.facefusion.face import Float
from services.facefusion.swapper import Patch

BLUR = 0.3  # share of the chip over which the box mask fades


def paste_back(
    rendered: Float, matrix: npt.NDArray[np.float64], shape: tuple[int, int], opacity: float
) -> Patch | None:
    """Warp a chip back to the part of a (height, width) frame that it covers; `matrix` took the frame to the chip."""
    side = rendered.shape[0]
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]], np.float64) @ inverse.T
    low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)), [shape[1], shape[0]]).astype(int)
    width, height = (high - low).tolist()
    if width < 1 or height < 1:
        return None
    shifted = inverse.copy()
    shifted[:, 2] -= low
    size = (width, height)
    pixels = cv2.warpAffine(rendered, shifted, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(box_mask(side), shifted, size, flags=cv2.INTER_LINEAR)
    return Patch(
        int(low[0]), int(low[1]), np.asarray(pixels, np.float32), (np.clip(mask, 0, 1) * opacity).astype(np.float32)
    )


def box_mask(side: int) -> Float:
    """1 in the middle of a chip, fading to 0 at its border."""
    width = int(side * 0.5 * BLUR)
    border = max(width // 2, 1)
    mask = np.ones((side, side), np.float32)
    mask[:border], mask[-border:], mask[:, :border], mask[:, -border:] = 0, 0, 0, 0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), width * 0.25, borderType=cv2.BORDER_CONSTANT), np.float32)
