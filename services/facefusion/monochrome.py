"""Black-and-white targets stay black and white: a patch has no more colour than what it covers.

A colour match alone leaves the source's reds in lips and cheeks, because it keeps a part of the source's spread.
"""

from dataclasses import replace

import numpy as np

from services.facefusion.swapper import Patch, paste
from shared.arrays import Picture

NO_COLOUR, COLOUR = 3.0, 6.0  # mean spread of the channels, 0-255: up to here grey, from there on coloured
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_SPARSE = 4  # every so many pixels are looked at


def paste_alike(frame: Picture, patch: Patch) -> None:
    """Blend a patch into a frame in place, as `paste` does, without colour where the frame has none."""
    paste(frame, as_colourful(frame, patch))


def as_colourful(frame: Picture, patch: Patch) -> Patch:
    """Return a patch that is grey where the frame under it is grey; between grey and coloured it fades.

    One whose pixels are added stays as it is: it changes the frame's own colours and brings none.
    """
    if patch.added:
        return patch
    share = colour_share(frame, patch)
    if share >= 1:
        return patch
    grey = (patch.pixels @ LUMA)[..., None]
    return replace(patch, pixels=np.asarray(grey + share * (patch.pixels - grey), np.float32))


def colour_share(frame: Picture, patch: Patch) -> float:
    """How coloured the frame is where the patch will be, 0-1."""
    height, width = patch.mask.shape
    part = frame[patch.y : patch.y + height : _SPARSE, patch.x : patch.x + width : _SPARSE]
    seen = part[patch.mask[::_SPARSE, ::_SPARSE] > 0]
    if not len(seen):
        return 1.0
    scale = 255 / float(np.iinfo(frame.dtype).max)
    red, green, blue = np.ascontiguousarray(seen.T)  # three channels as three rows: ten times as fast as along a row
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    spread = float((most - least).mean(dtype=np.float32)) * scale
    return float(np.clip((spread - NO_COLOUR) / (COLOUR - NO_COLOUR), 0, 1))
