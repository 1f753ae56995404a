"""What a media file says about itself, as plain data that can be passed between processes."""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal, Self

# What a field takes. "portrait": a picture, or an animation or a video of which one picture will be used; what is known
# of any of them is a picture's header, because its other frames are no work.
MediaKind = Literal["video", "image", "picture_or_video", "portrait"]


@dataclass(frozen=True)
class MediaHeader:
    """A readable file. `width` and `height` are as stored, before a player mirrors the picture left to
    right if `mirrored`, then turns it by `rotation` degrees clockwise.

    `frame_count` is the container's count or an estimate, None when nothing is known; `duration_seconds` is 0.0 then,
    and for pictures.
    """

    kind: Literal["video", "image"]
    width: int
    height: int
    bit_depth: int
    rotation: int = 0
    mirrored: bool = False
    frame_rate: Fraction | None = None
    frame_count: int | None = None
    duration_seconds: float = 0.0
    has_audio: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return {**asdict(self), "frame_rate": None if self.frame_rate is None else str(self.frame_rate)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` made."""
        rate = value["frame_rate"]
        return cls(**{**value, "frame_rate": None if rate is None else Fraction(rate)})
