"""Line art: a difference of Gaussians smoothed along the edge tangent, after Kang, Lee and Chui (2007)."""

import math
from functools import cache

import cv2
import numpy as np

from services.creation.effects.stabilise import Plane

LINE_SIGMA, LINE_RATIO = 1.2, 1.6  # half a line's width in pixels, and how much wider the second Gaussian is
LINE_FAINT, LINE_FULL = 0.4, 1.9  # response in L at which a line begins and at which it is drawn in full
LINE_BUSY = 1.8  # how many times the mean response around it a line must exceed: grass gets no hatching
STROKE = (1.5, 3.0, 4.5)  # pixels along the tangent, in both directions, over which a line is smoothed
STROKE_SIGMA = 3.0
DRAWN, FIRM = 0.12, 0.5  # ink from which pixels belong to one line, and ink of which a line has some
SHORT, LONG = 14.0, 30.0  # pixels from end to end at which a line that stands alone begins to be drawn, and is in full
SPECK = 44.0  # pixels from end to end below which lines crowd each other
BLOCK = 32  # pixels on a side of the blocks in which specks are counted


def ink(picture: Plane) -> Plane:
    """Return the lines of a picture (H, W, 3) float32 0-1: the amount of ink at each pixel (H, W), 0-1."""
    light = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) * 100, (0, 0), 0.7)
    darker = cv2.subtract(
        cv2.GaussianBlur(light, (0, 0), LINE_SIGMA * LINE_RATIO), cv2.GaussianBlur(light, (0, 0), LINE_SIGMA)
    )
    height, width = light.shape
    across, down = _tangents(light)
    columns, rows = _grid(width, height)
    strokes, total = darker.copy(), 1.0
    for distance in STROKE:
        weight = math.exp(-(distance**2) / (2 * STROKE_SIGMA**2))
        for offset in (distance, -distance):
            position = cv2.scaleAdd(across, offset, columns), cv2.scaleAdd(down, offset, rows)
            sample = cv2.remap(darker, *position, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            strokes, total = cv2.scaleAdd(sample, weight, strokes), total + weight
    strokes = strokes / np.float32(total)
    quarter = cv2.resize(np.abs(strokes), (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    busy = cv2.resize(cv2.GaussianBlur(quarter, (0, 0), 8), (width, height))
    amount = np.clip((strokes - LINE_BUSY * busy - LINE_FAINT) / (LINE_FULL - LINE_FAINT), 0, 1)
    return _without_specks(_smoothstep(amount))


def _without_specks(lines: Plane) -> Plane:
    """Fade out short lines; the more of them are around, the longer a line must be: eyes stay, hatched grass goes."""
    found = cv2.connectedComponentsWithStats((lines > DRAWN).astype(np.uint8), connectivity=8)
    count, labels, boxes, centres = found
    reach = np.hypot(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT])
    reach[0] = 0  # the background
    height, width = lines.shape
    column, row = np.nan_to_num(centres).astype(int).T // BLOCK
    specks = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), np.float32)
    np.add.at(specks, (row, column), (reach > 0) & (reach < SPECK))
    crowd = cv2.GaussianBlur(specks, (0, 0), 1.0)[row, column]
    amount = _smoothstep(np.clip((reach / (1 + crowd) - SHORT) / (LONG - SHORT), 0, 1))
    amount[np.bincount(labels[lines > FIRM], minlength=count) == 0] = 0
    return np.asarray(lines * amount.astype(np.float32)[labels], np.float32)


def _smoothstep(amount: Plane) -> Plane:
    return np.asarray(amount * amount * (3 - 2 * amount))


def _tangents(light: Plane) -> tuple[Plane, Plane]:
    """Return the unit vectors (x, y) along the contours, from the smoothed structure tensor."""
    x, y = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    xx, xy, yy = (_smooth(product) for product in (x * x, x * y, y * y))
    angle = cv2.phase(xx - yy, 2 * xy) * 0.5 + np.float32(math.pi / 2)
    across, down = cv2.polarToCart(np.ones_like(angle), angle)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _smooth(plane: Plane) -> Plane:
    height, width = plane.shape
    half = cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(cv2.GaussianBlur(half, (0, 0), 1.5), (width, height)), np.float32)


@cache
def _grid(width: int, height: int) -> tuple[Plane, Plane]:
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return columns, rows
