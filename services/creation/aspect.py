"""From the caller's aspect ratio to a size that every engine and codec can work with."""

import math
import re
import unicodedata
from fractions import Fraction

NARROWEST, WIDEST = Fraction(2, 5), Fraction(5, 2)
STEP = 16  # pixels: sides are multiples of it, as video models and the cells of pixel art need
AREA_TOLERANCE = 0.07  # how far from the wanted area a size may be for a better fit of the ratio, as a logarithm

_NUMBER = r"\s*([0-9]{1,9}(?:\.[0-9]{1,18})?)\s*"
_RATIO = re.compile(rf"{_NUMBER}(?:[:/x×*]{_NUMBER})?", re.ASCII)


def parse_ratio(text: str) -> Fraction:
    """Read `W:H`, also with `/`, `x` or full-width signs between them, or one number that is W / H.

    Raises ValueError for another form or a ratio outside 0.4 to 2.5.
    """
    match = _RATIO.fullmatch(unicodedata.normalize("NFKC", text).casefold())
    if match is None:
        raise ValueError(text)
    width, height = Fraction(match[1]), Fraction(match[2] or 1)
    if not height or not NARROWEST <= width / height <= WIDEST:
        raise ValueError(text)
    return width / height


def fit_ratio(width: int, height: int) -> Fraction:
    """Return the ratio of a source, moved into the allowed range (what lies beyond is cropped)."""
    return min(max(Fraction(width, height), NARROWEST), WIDEST)


def size_for(ratio: Fraction, area: int, step: int = STEP) -> tuple[int, int]:
    """Return width and height: multiples of `step`, about `area` pixels, as near to `ratio` as that grid allows."""
    centre = round(math.sqrt(area / ratio) / step)
    candidates = [
        (step * columns, step * rows)
        for rows in range(max(1, centre - 3), centre + 4)
        for columns in {math.floor(rows * ratio), math.ceil(rows * ratio)} - {0}
    ]

    def misfit(size: tuple[int, int]) -> tuple[bool, float, float]:
        area_error = abs(math.log(size[0] * size[1] / area))
        return area_error > AREA_TOLERANCE, abs(math.log(size[0] / size[1] / ratio)), area_error

    return min(candidates, key=misfit)
