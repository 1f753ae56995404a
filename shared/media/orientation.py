"""How a stored picture must be mirrored and turned for a viewer: one of the eight ways that EXIF numbers 1 to 8."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from shared.arrays import Picture

_QUARTER = 90  # degrees


@dataclass(frozen=True)
class Orientation:
    """A player mirrors the stored picture left to right if `mirrored`, then turns it by `rotation` degrees clockwise.

    `rotation` is 0, 90, 180 or 270. Front cameras store mirrored pictures.
    """

    rotation: int = 0
    mirrored: bool = False

    @classmethod
    def of_display_matrix(cls, matrix: Sequence[int] | None) -> Self:
        """Read the nine numbers of MP4's display matrix; None is none, an angle in between goes to the nearest turn.

        A stored (x, y), y downwards, is shown at (ax + cy, bx + dy), where the matrix begins a b u c d v
        (ISO/IEC 14496-12, 6.2.2).
        """
        if matrix is None:
            return cls()
        a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
        mirrored = a * d - b * c < 0
        if mirrored:  # what is left after mirroring x is a turn alone
            a, b = -a, -b
        turn = math.degrees(math.atan2(b - c, a + d))
        return cls(round(turn / _QUARTER) * _QUARTER % 360, mirrored)

    @property
    def swaps_sides(self) -> bool:
        """Whether the stored width is the height that is shown."""
        return self.rotation % 180 != 0

    def view(self, image: Picture) -> Picture:
        """Return a stored picture as it is shown, as a view: writing to it writes to `image`."""
        mirrored = image[:, ::-1] if self.mirrored else image
        return np.rot90(mirrored, -self.rotation // _QUARTER)


def upright(image: Picture, orientation: Orientation) -> Picture:
    """Return a stored picture as a player shows it; `orientation` is that of its `VideoSource`."""
    return np.ascontiguousarray(orientation.view(image))


def as_stored(image: Picture, orientation: Orientation) -> Picture:
    """Undo `upright`."""
    turned_back = np.rot90(image, orientation.rotation // _QUARTER)
    return np.ascontiguousarray(turned_back[:, ::-1] if orientation.mirrored else turned_back)
