"""Which size a video gets, and what must be computed for it."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from services.upscale.request import UpscaleRequest
from shared.errors import Rejected

LARGEST_RATIO = 4
_SHAPE_LIMIT = 65535  # what H.264 and HEVC can say of a pixel's width and height


@dataclass(frozen=True)
class Source:
    """A video: the size of its stored pictures, whether a player turns them by a quarter, the shape of a pixel."""

    width: int
    height: int
    turned: bool = False
    pixel_shape: Fraction = Fraction(1)  # width / height


@dataclass(frozen=True)
class TargetSize:
    """The stored size of the result, the ratio at which the network computes, and the pixels' shape if it changes."""

    width: int
    height: int
    ratio: int
    pixel_shape: Fraction | None = None

    @classmethod
    def of(cls, request: UpscaleRequest, source: Source) -> Self:
        """Return what a request asks of a source. Raises Rejected for more than four times the source's size.

        `width` and `height` are as shown. One alone keeps the aspect ratio; the other side is then exact where that is
        a whole number, else the nearest even one. Two that have another aspect ratio are both kept: the pixels' shape
        changes so that the picture is shown in its own.
        """
        if request.ratio is not None and request.width is None and request.height is None:
            return cls(source.width * request.ratio, source.height * request.ratio, request.ratio)
        wanted = (request.height, request.width) if source.turned else (request.width, request.height)
        width = wanted[0] or _side(source.width, wanted[1], source.height)
        height = wanted[1] or _side(source.height, wanted[0], source.width)
        scale = max(Fraction(width, source.width), Fraction(height, source.height))
        if scale > LARGEST_RATIO:
            sides = (source.height, source.width) if source.turned else (source.width, source.height)
            limit = [LARGEST_RATIO * side for side in sides]
            raise Rejected("upscale_size_too_large", width=limit[0], height=limit[1])
        aspect = Fraction(width, height) / Fraction(source.width, source.height)
        beside = abs(width * source.height - height * source.width)  # of the two shapes, times a side of the source
        rounds = beside < max(source.width, source.height)
        shape = None if rounds or wanted[0] is None or wanted[1] is None else source.pixel_shape / aspect
        return cls(width, height, max(1, -(-scale.numerator // scale.denominator)), shape and _sayable(shape))


def _side(side: int, other_wanted: int | None, other: int) -> int:
    """Scale a side as the other one is scaled."""
    exact = Fraction(side * (other_wanted or other), other)
    return int(exact) if exact.denominator == 1 else max(2, 2 * round(exact / 2))


def _sayable(shape: Fraction) -> Fraction:
    """Return the nearest shape whose two numbers fit into a video's header."""
    return shape.limit_denominator(max(1, int(_SHAPE_LIMIT / max(Fraction(1), shape))))
