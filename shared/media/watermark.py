"""The visible label "AI生成", drawn from our own strokes: no font has to be installed, no font's licence applies."""

from functools import cache
from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from shared.arrays import Picture
from shared.media.orientation import Orientation

# Each glyph: its width, and strokes as points, in ems with y downwards.
_GLYPHS = (
    (0.86, (((0.06, 0.97), (0.42, 0.05), (0.80, 0.97)), ((0.19, 0.64), (0.67, 0.64)))),
    (0.34, (((0.17, 0.05), (0.17, 0.97)),)),
    (
        1.06,
        (
            ((0.28, 0.06), (0.20, 0.26), (0.08, 0.42)),
            ((0.20, 0.28), (0.90, 0.28)),
            ((0.16, 0.60), (0.86, 0.60)),
            ((0.53, 0.04), (0.53, 0.93)),
            ((0.05, 0.94), (0.97, 0.94)),
        ),
    ),
    (
        1.0,
        (
            ((0.14, 0.26), (0.92, 0.26)),
            ((0.14, 0.26), (0.14, 0.60), (0.04, 0.95)),
            ((0.14, 0.50), (0.42, 0.50), (0.40, 0.80), (0.30, 0.77)),
            ((0.52, 0.04), (0.55, 0.42), (0.66, 0.74), (0.84, 0.95), (0.92, 0.95), (0.95, 0.74)),
            ((0.82, 0.42), (0.70, 0.68), (0.48, 0.92)),
            ((0.67, 0.06), (0.80, 0.17)),
        ),
    ),
)
_STROKE = 0.085  # ems
_PADDING = 0.3  # ems of dark ground around the text
_SMOOTHING = 4  # drawn so many times larger, then averaged
_OF_SHORTEST_SIDE = 0.06  # the rule asks for 0.05
_LEAST_PIXELS = 14  # below that the strokes merge
_GROUND_OPACITY = 0.5
_AS_IT_IS = Orientation()


def stamp(image: Picture, orientation: Orientation = _AS_IT_IS) -> Picture:
    """Return a copy that says "AI生成" at the bottom right as a player shows it, in `orientation`.

    The characters are at least a twentieth of the shortest side high. uint8 or uint16, as given.
    """
    stamped = image.copy()
    seen = orientation.view(stamped)
    height, width = seen.shape[:2]
    em = max(ceil(min(height, width) * _OF_SHORTEST_SIDE), _LEAST_PIXELS)
    text = _text(em)[:height, :width]
    rows, columns = text.shape
    margin = min(em // 2, height - rows, width - columns)
    place = seen[height - rows - margin : height - margin, width - columns - margin : width - margin]
    white = np.iinfo(image.dtype).max
    ink = text[..., None]
    place[:] = (place * (1 - _GROUND_OPACITY) * (1 - ink) + white * ink).round().astype(image.dtype)
    return stamped


@cache
def _text(em: int) -> npt.NDArray[np.float32]:
    """Draw the text; return its coverage 0-1, (height, width), with characters `em` pixels high."""
    unit = em * _SMOOTHING
    width = sum(advance for advance, _ in _GLYPHS) + 2 * _PADDING
    size = (round(width * em), round((1 + 2 * _PADDING) * em))
    canvas = Image.new("L", (size[0] * _SMOOTHING, size[1] * _SMOOTHING))
    pen = ImageDraw.Draw(canvas)
    radius = _STROKE * unit / 2
    left = _PADDING
    for advance, strokes in _GLYPHS:
        for stroke in strokes:
            points = [((left + x) * unit, (_PADDING + y) * unit) for x, y in stroke]
            for begin, end in pairwise(points):
                pen.line((begin, end), fill=255, width=round(2 * radius))
            for x, y in points:  # round ends and joints
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        left += advance
    return np.asarray(canvas.resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)
