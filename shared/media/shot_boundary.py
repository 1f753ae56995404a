"""Where one shot ends and the next begins.

Two frames are compared as thumbnails: the middle of either is searched in the other, and the best normalised
cross-correlation is their similarity, 1 for the same content wherever a pan has moved it, about 0 for unrelated ones.
Correlation does not see brightness, so a flash or a fade is no cut.

Measured (`benchmarks/interpo.py` has the clips): neighbouring frames with little motion are above 0.93; a helmet camera
in a turn falls to 0.60, frame by frame; across the five cuts of that clip it is -0.04 to 0.49; 6221 pairs from
different clips have a median of 0.26 and a maximum of 0.65. So a cut is a pair below 0.7 that falls by 0.2 at once:
the first finds nearly every pair of unrelated pictures, the second does not take the helmet camera for a cut.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from shared.arrays import Picture

_SIZE = (64, 36)  # width, height: fine enough for a face, coarse enough for motion within a frame's time
_SEARCH = (8, 5)  # how far the middle is searched to each side: an eighth of the picture
_SIMILAR = 0.7
_FALL = 0.2
_FLAT = 1 / 255  # deviation of a picture without content
_VISIBLE = 4 / 255  # mean difference below which even unrelated pictures (black and nearly black) may be blended


class CutDetector:
    """Judges neighbouring pairs of one video in order; remembers how similar neighbours are at the moment.

    Together with the last picture, or what `reduced` makes of it, that similarity, `usual`, is all that it remembers.
    """

    def __init__(self, usual: float = 1.0) -> None:
        self._usual = usual
        self._latest: tuple[Picture, npt.NDArray[Any]] | None = None

    @property
    def usual(self) -> float:
        """How similar neighbours are at the moment, at most 1."""
        return self._usual

    def is_cut(self, earlier: Picture, later: Picture) -> bool:
        """Tell whether a new shot begins with `later`. Pictures are (H, W, 3), uint8 or uint16 at full scale."""
        before, after = self._thumbnail(earlier), self._thumbnail(later)
        similarity = _similarity(before, after)
        differs = float(np.abs(before - after).mean()) > _VISIBLE
        if differs and similarity < min(_SIMILAR, self._usual - _FALL):
            self._usual = 1.0  # nothing of the new shot is known yet
            return True
        self._usual = similarity if differs else 1.0  # flat pictures correlate with nothing, not even themselves
        return False

    def expect(self, pictures: Sequence[Picture]) -> None:
        """Take the most alike neighbours among the first few pictures for what is usual where they begin.

        Where judging begins in the middle of a video nothing is known of that: in a fast turn every pair would be taken
        for a cut.
        """
        for earlier, later in pairwise(pictures):
            before, after = self._thumbnail(earlier), self._thumbnail(later)
            differs = float(np.abs(before - after).mean()) > _VISIBLE
            alike = _similarity(before, after) if differs else 1.0
            self._usual = alike if earlier is pictures[0] else max(self._usual, alike)

    def _thumbnail(self, picture: Picture) -> npt.NDArray[Any]:
        """Return (36, 64, 3) float32 0-1; the last one is kept, since every frame is in two pairs."""
        if self._latest is None or self._latest[0] is not picture:
            small = reduced(picture)
            self._latest = picture, (small / np.iinfo(picture.dtype).max).astype(np.float32)
        return self._latest[1]


def reduced(picture: Picture) -> Picture:
    """Return (36, 64, 3) of a picture, in its own depth, which is judged as the picture itself is."""
    return np.asarray(cv2.resize(picture, _SIZE, interpolation=cv2.INTER_AREA), picture.dtype)


def _similarity(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    return max(_best_match(first, second), _best_match(second, first))


def _best_match(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Search the middle of `first` in `second`; a flat one, which OpenCV finds everywhere, matches nothing."""
    across, down = _SEARCH
    middle = first[down:-down, across:-across]
    if middle.std() < _FLAT:
        return 0.0
    return float(cv2.matchTemplate(second, middle, cv2.TM_CCOEFF_NORMED).max())
