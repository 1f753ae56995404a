"""What lies between two neighbouring frames, and the model that fills it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import numpy as np

from shared.arrays import Picture
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.media.shot_boundary import CutDetector
from shared.networks.engines import Engine

_SAME = 2 / 255  # of full scale: how much rounding and a skipped block of the encoder change a repeated frame
_BEGIN = 3  # frames of a range that tell what is usual in the shot which it begins in


class Interpolate(Protocol):
    """Two pictures and instants in (0, 1) to the pictures at those instants; `shared.networks.interpolator` has one."""

    @property
    def name(self) -> str:
        """Its name in the task's details."""

    @property
    def engine(self) -> Engine:
        """What computes it, named in the task's details."""

    def pairs_at_once(self, pixels: int) -> int:
        """Return how many pairs of so many pixels are best worked on side by side; so many threads may call it."""

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> Iterable[Picture]:
        """Return one picture for each timestep, of the two pictures' size and dtype."""


@dataclass(frozen=True)
class Pair:
    """Two frames that follow each other, and what lies between them, see `kind_of`."""

    earlier: Frame
    later: Frame
    kind: str


def pairs_of(frames: FrameRange) -> Iterator[Pair]:
    """Yield the pairs of a range; the last one's later frame is the one behind it, if there is any."""
    cuts, upcoming = begun(frames)
    earlier: Frame | None = None
    for later in upcoming:
        if earlier is not None:
            yield Pair(earlier, later, kind_of(earlier.image, later.image, cuts))
        earlier = later


def kind_of(earlier: Picture, later: Picture, cuts: CutDetector) -> str:
    """Return what is between two frames: "moving", "still" or a "cut". For the last two the frame is repeated."""
    if _is_same(earlier, later):
        return "still"
    return "cut" if cuts.is_cut(earlier, later) else "moving"


def _is_same(earlier: Picture, later: Picture) -> bool:
    """Tell whether no value differs visibly: a repeated frame must not flicker between its two encodings."""
    larger, smaller = np.maximum(earlier, later), np.minimum(earlier, later)  # unsigned: subtract the right way round
    return bool((larger - smaller).max() <= _SAME * np.iinfo(earlier.dtype).max)


def begun(frames: FrameRange) -> tuple[CutDetector, Iterator[Frame]]:
    """Return a detector that knows what is usual where the range begins, and the frames up to the one behind it.

    Within a film a shot goes on: what is usual in it is learned from its first two pairs.
    """
    cuts, upcoming = CutDetector(), _and_following(frames)
    if frames.opens:
        return cuts, upcoming
    begin = list(islice(upcoming, _BEGIN))
    if len(begin) == _BEGIN:
        cuts.expect([frame.image for frame in begin])
    return cuts, chain(begin, upcoming)


def _and_following(frames: FrameRange) -> Iterator[Frame]:
    """Yield the frames of a range and, where it has any, the one behind it."""
    yield from frames
    if frames.first is not None and frames.following is not None:
        yield frames.following
