"""Keeps a restored face from flickering: what a restorer adds is averaged over the frames of a track.

A restorer sees each frame for itself, so that what it makes up (pores, lashes, the shine of the skin) is another in
each. Here a chip's detail, restored minus given, follows a first-order low-pass, point by point in the aligned chip.
Where the face itself has changed since, by an expression, a turn or the light, the new detail is taken at once: old
detail there would be a ghost.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from services.facefusion.face import Float

CELLS = 64  # of a side of the chip: the face is compared in squares of this number
STILL, MOVED = 2.0, 12.0  # levels of 255 by which a square has changed: noise, and certainly another picture
TAKEN = 0.15  # share of a frame's own detail that is taken where nothing has changed


@dataclass
class DetailMemory:
    """The detail of one track so far, and how the face looked that it belongs to."""

    detail: npt.NDArray[np.float16] | None = None  # (side, side, 3) levels of 255
    looked: Float | None = None  # (CELLS, CELLS) grey, averaged as the detail is

    def smooth(self, detail: Float, chip: Float) -> Float:
        """Take one more frame's detail and the chip (both (side, side, 3)) that it was made of; return what to show."""
        now: npt.NDArray[Any] = cv2.resize(
            cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY), (CELLS, CELLS), interpolation=cv2.INTER_AREA
        )
        if self.detail is None or self.looked is None or self.detail.shape != detail.shape:
            self.detail, self.looked = detail.astype(np.float16), np.asarray(now, np.float32)
            return detail
        taken = share_taken(np.abs(now - self.looked))
        self.looked = np.asarray(self.looked + taken * (now - self.looked), np.float32)
        side = (detail.shape[1], detail.shape[0])
        share = cv2.resize(taken, side, interpolation=cv2.INTER_LINEAR)[..., None]
        before = self.detail.astype(np.float32)
        smoothed = np.asarray(before + share * (detail - before), np.float32)
        self.detail = smoothed.astype(np.float16)
        return smoothed


def share_taken(change: Float) -> Float:
    """(CELLS, CELLS) levels to 0-1: how much of the new detail is taken in each square; its neighbours count."""
    widest = cv2.dilate(change, np.ones((3, 3), np.uint8))
    moved = np.clip((widest - STILL) / (MOVED - STILL), 0, 1)
    return np.asarray(cv2.GaussianBlur(TAKEN + (1 - TAKEN) * moved, (0, 0), 1.0), np.float32)
