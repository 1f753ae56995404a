"""A decoded picture, as it passes from the decoder through a model to the encoder."""

from dataclasses import dataclass

from shared.arrays import Picture
from shared.media.captions import Captions


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture and the time for which it is shown.

    `image` is (height, width, 3) RGB: uint8 0-255, or uint16 0-65535 when the source has more than 8 bits. It is
    oriented as stored; a player shows it in `VideoSource.orientation`. `pts` and `duration` count units of the time
    base that belongs to the frames (`VideoSource.time_base`, or the one given to `encode`); pts 0 is
    the moment at which the earliest stream of the source starts. A picture that is made from others has no `captions`.
    """

    image: Picture
    pts: int
    duration: int
    captions: Captions | None = None
