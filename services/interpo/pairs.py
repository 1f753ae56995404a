"""What lies between two neighbouring frames, and the model that fills it."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from shared.arrays import Picture
from shared.media.shot_boundary import CutDetector

_SAME = 2 / 255  # of full scale: how much rounding and a skipped block of the encoder change a repeated frame


class Interpolate(Protocol):
    """Two pictures and instants in (0, 1) to the pictures at those instants; `shared.networks.interpolator` has one."""

    @property
    def name(self) -> str:
        """Its name in the task's details."""

    @property
    def frames_at_once(self) -> int:
        """How many pairs are best worked on side by side; it may be called from so many threads."""

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> Iterable[Picture]:
        """Return one picture for each timestep, of the two pictures' size and dtype."""


def kind_of(earlier: Picture, later: Picture, cuts: CutDetector) -> str:
    """Return what is between two frames: "moving", "still" or a "cut". For the last two the frame is repeated."""
    if _is_same(earlier, later):
        return "still"
    return "cut" if cuts.is_cut(earlier, later) else "moving"


def _is_same(earlier: Picture, later: Picture) -> bool:
    """Tell whether no value differs visibly: a repeated frame must not flicker between its two encodings."""
    larger, smaller = np.maximum(earlier, later), np.minimum(earlier, later)  # unsigned: subtract the right way round
    return bool((larger - smaller).max() <= _SAME * np.iinfo(earlier.dtype).max)
