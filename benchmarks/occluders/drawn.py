"""What the training of the occluder network draws: things in front of a face, skin, light and the camera's faults.

All lies in the atlas: (SIDE, SIDE) 0-1 for shapes, (SIDE, SIDE, 3) RGB 0-1 for pictures.
"""

# OpenCV's, numpy's and torch's own annotations are narrower than what they take.
# mypy: disable-error-code="call-overload,list-item,assignment,arg-type,return-value,no-untyped-call,unused-ignore"

import cv2
import numpy as np

from services.facefusion import occlusion
from services.facefusion.face import Float

SIDE = occlusion.ATLAS_SIDE

Random = np.random.Generator


def chance(random: Random, share: float) -> bool:
    """Return True in this share of the calls."""
    return bool(random.random() < share)


def shading(random: Random) -> Float:
    """Return a slow change of brightness around 1, (SIDE, SIDE, 1)."""
    slow = cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), random.uniform(6, 25))
    return np.asarray(1 + slow / max(float(np.abs(slow).max()), 1e-6) * random.uniform(0, 0.5), np.float32)[..., None]


def rim_point(random: Random) -> Float:
    """Return a point somewhat outside the face, more often below it and beside it."""
    angle = random.uniform(-0.35 * np.pi, 1.35 * np.pi)
    return np.asarray(64 + 78 * np.array([np.cos(angle), np.sin(angle)]), np.float32)


def fingers(skin: Float, random: Random) -> tuple[Float, Float]:
    """Draw a palm and fingers: round in their shading, with creases and nails, in about the face's own colours."""
    away = rim_point(random)
    inside = np.array([random.uniform(25, 103), random.uniform(25, 110)])
    way = inside - away
    length = float(np.linalg.norm(way))
    way /= max(length, 1.0)
    side = np.array([-way[1], way[0]])
    width = random.uniform(6, 15)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    spot = np.dstack([columns, rows])
    shape, light = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)
    count = int(random.integers(1, 6))
    spread = random.uniform(0.75, 1.5)
    parts: list[tuple[Float, Float, float]] = []
    for number in range(count):
        off = (number - (count - 1) / 2) * width * spread
        reach = random.uniform(0.75, 1.15)
        fan = random.uniform(-0.25, 0.25) * way[::-1]
        begin = away + side * off * 0.8
        middle = away + way * length * reach * 0.6 + side * off + fan * 6
        end = away + way * length * reach + side * off * random.uniform(0.8, 1.25) + fan * 14
        thick = width * random.uniform(0.42, 0.55)
        parts += [(begin, middle, thick), (middle, end, thick * random.uniform(0.82, 1.0))]
    if chance(random, 0.6):  # the palm or the back of the hand
        parts.append((away, away + way * length * random.uniform(0.2, 0.6), width * count * 0.5 * spread))
    order = random.permutation(len(parts))
    for number in order:
        begin, end, thick = parts[number]
        along = end - begin
        share = np.clip(((spot - begin) @ along) / max(float(along @ along), 1e-3), 0, 1)
        away_from = np.linalg.norm(spot - (begin + share[..., None] * along), axis=2) / max(thick, 1.0)
        here = away_from < 1
        across = ((spot - begin) @ np.array([-along[1], along[0]])) / max(float(np.linalg.norm(along)) * thick, 1.0)
        round_ = np.sqrt(np.clip(1 - away_from**2, 0, 1)) * random.uniform(0.2, 0.5) + across * random.uniform(
            -0.2, 0.2
        )
        light = np.where(here, round_, light)
        shape = np.maximum(shape, here.astype(np.float32))
        if chance(random, 0.5):  # creases at a joint
            crease = np.exp(-(((share - random.uniform(0.3, 0.9)) * 40) ** 2)) * here
            light = light - crease * random.uniform(0, 0.25)
    usual = np.median(skin[occlusion.plain_skin() > 0], 0)
    brightness = random.uniform(0.85, 1.12) if chance(random, 0.5) else random.uniform(0.6, 1.25)
    tone = usual * brightness * (1 + random.normal(0, 0.05, 3))
    grain = cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), random.uniform(0.5, 2))
    surface = tone * (0.75 + light[..., None]) * shading(random) + grain[..., None] * random.uniform(0, 0.03)
    return shape, np.asarray(np.clip(surface, 0, 1), np.float32)


def frames(random: Random) -> Float:
    """Draw the frame of a pair of glasses, or its dark lenses."""
    shape = np.zeros((SIDE, SIDE), np.uint8)
    centre = np.array([64 + random.normal(0, 3), 46 + random.normal(0, 6)])
    apart, width, height = random.uniform(22, 31), random.uniform(14, 25), random.uniform(9, 20)
    line = int(random.integers(1, 6))
    filled = chance(random, 0.3)
    turn = random.normal(0, 5)
    for sign in (-1, 1):
        middle = centre + np.array([sign * apart, sign * apart * np.tan(np.radians(turn))])
        if chance(random, 0.5):
            axes = (int(width), int(height))
            cv2.ellipse(shape, np.int32(np.round(middle)).tolist(), axes, turn, 0, 360, 1, -1 if filled else line)
        else:
            box = cv2.boxPoints((middle.tolist(), (2 * width, 2 * height), turn)).astype(np.int32)
            cv2.drawContours(shape, [box], 0, 1, -1 if filled else line)
        end = middle + np.array([sign * 60, random.normal(0, 6)])
        start = middle + np.array([sign * width, -height * random.uniform(0, 0.6)])
        cv2.line(shape, np.int32(start).tolist(), np.int32(end).tolist(), 1, line)
    cv2.line(
        shape,
        np.int32(centre - np.array([apart - width, 2])).tolist(),
        np.int32(centre + np.array([apart - width, -2])).tolist(),
        1,
        line,
    )
    return shape.astype(np.float32)


def stick(random: Random) -> Float:
    """Draw a bar from the rim, often with a round head: a microphone, a spoon, a pen."""
    shape = np.zeros((SIDE, SIDE), np.uint8)
    begin, end = rim_point(random), random.uniform(24, 112, 2)
    cv2.line(shape, np.int32(begin).tolist(), np.int32(end).tolist(), 1, int(random.integers(3, 26)))
    if chance(random, 0.7):
        axes = (int(random.integers(5, 26)), int(random.integers(5, 26)))
        cv2.ellipse(shape, np.int32(end).tolist(), axes, random.uniform(0, 180), 0, 360, 1, -1)
    return shape.astype(np.float32)


def blob(random: Random) -> Float:
    """Draw an ellipse that enters over the rim."""
    shape = np.zeros((SIDE, SIDE), np.uint8)
    middle = rim_point(random) * 0.6 + random.uniform(20, 108, 2) * 0.4
    axes = (int(random.integers(10, 50)), int(random.integers(10, 50)))
    cv2.ellipse(shape, np.int32(middle).tolist(), axes, random.uniform(0, 180), 0, 360, 1, -1)
    return shape.astype(np.float32)


def polygon(random: Random) -> Float:
    """Draw a shape with corners that enters over the rim: a phone, a book, a sleeve, a scarf."""
    shape = np.zeros((SIDE, SIDE), np.uint8)
    middle = rim_point(random) * 0.65 + random.uniform(20, 108, 2) * 0.35
    angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 8))))
    reach = random.uniform(14, 60, len(angles))
    corners = middle + np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]
    cv2.fillPoly(shape, [corners.astype(np.int32)], 1)
    return shape.astype(np.float32)


def vessel(random: Random) -> tuple[Float, Float]:
    """Draw a cup or a bowl at the mouth: its side, a rim of one colour, and what is in it."""
    middle = np.array([64 + random.normal(0, 14), random.uniform(82, 118)])
    wide = random.uniform(14, 42)
    high, turn, rim = wide * random.uniform(0.35, 1.0), random.normal(0, 12), random.uniform(0.7, 0.95)
    side, opening, inside = (np.zeros((SIDE, SIDE), np.uint8) for _ in range(3))
    for mask, share in ((opening, 1.0), (inside, rim)):
        axes = (int(wide * share), int(high * share))
        cv2.ellipse(mask, np.int32(middle).tolist(), axes, turn, 0, 360, 1, -1)
    corners = middle + np.array([[-wide, 0], [wide, 0], [wide * 0.8, 90], [-wide * 0.8, 90]])
    cv2.fillPoly(side, [corners.astype(np.int32)], 1)
    outer, drink = (random.uniform(0, 1, (1, 1, 1)) ** 0.5 * random.uniform(0.75, 1, 3) for _ in range(2))
    drink = drink * random.uniform(0.2, 1.0)
    surface = np.where(inside[..., None] > 0, drink, outer * np.where(opening[..., None] > 0, 1, 0.85))
    surface = np.clip(cv2.GaussianBlur(surface, (0, 0), 0.6) * shading(random), 0, 1)
    return np.maximum(side, opening).astype(np.float32), np.asarray(surface, np.float32)


def strands(random: Random) -> Float:
    """Hair that falls over the forehead or a temple: from the upper rim down."""
    shape = np.zeros((SIDE, SIDE), np.uint8)
    angle = random.uniform(-np.pi, 0)
    root = 64 + 70 * np.array([np.cos(angle), np.sin(angle)])
    for _ in range(int(random.integers(2, 26))):
        begin = root + random.normal(0, 12, 2)
        end = begin + np.array([random.normal(0, 14), random.uniform(15, 75)])
        middle = (begin + end) / 2 + random.normal(0, 8, 2)
        share = np.linspace(0, 1, 12)[:, None]
        curve = (1 - share) ** 2 * begin + 2 * share * (1 - share) * middle + share**2 * end
        cv2.polylines(shape, [curve.astype(np.int32)], False, 1, int(random.integers(1, 6)))
    return shape.astype(np.float32)


def fibres(random: Random) -> Float:
    """Return the look of hair, black to blond."""
    noise = cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), sigmaX=0.7, sigmaY=9)
    tone = random.uniform(0.02, 0.6) * np.array([1.0, random.uniform(0.65, 0.95), random.uniform(0.4, 0.9)])
    return np.asarray(np.clip(tone * (1 + noise[..., None] * 2), 0, 1), np.float32)


# Light, skin and camera


def tinted(skin: Float, random: Random) -> Float:
    """Another colour of skin and another white balance; stubble."""
    darker = random.uniform(0.0, 0.9) ** 2
    skin = skin ** (1 + 0.9 * darker) * (1 - darker * np.array([0.15, 0.3, 0.4], np.float32))
    skin = skin * (1 + random.normal(0, 0.06, 3).astype(np.float32))
    skin = np.clip(skin, 0, 1) ** random.uniform(0.75, 1.5)  # contrast
    if chance(random, 0.25):
        where = np.zeros((SIDE, SIDE), np.float32)
        cv2.ellipse(where, (64, 104), (44, int(random.integers(18, 44))), 0, 0, 360, 1, -1)
        speckle = cv2.GaussianBlur(random.random((SIDE, SIDE)).astype(np.float32), (0, 0), 0.6)
        where = cv2.GaussianBlur(where, (0, 0), 5) * (0.6 + 0.8 * (speckle - 0.5))
        skin = skin * (1 - where[..., None] * random.uniform(0.05, 0.4))
    return np.asarray(np.clip(skin, 0, 1), np.float32)


def lit(skin: Float, random: Random) -> Float:
    """Light from a side, a shadow with a soft or a hard edge."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE - 0.5
    if chance(random, 0.6):
        angle = random.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * columns + np.sin(angle) * rows
        skin = skin * (1 + slope * random.uniform(0, 1.3))[..., None]
    if chance(random, 0.4):
        angle, at = random.uniform(0, 2 * np.pi), random.uniform(-0.4, 0.4)
        edge = np.cos(angle) * columns + np.sin(angle) * rows - at
        soft = 1 / (1 + np.exp(-np.clip(edge * random.uniform(6, 60), -30, 30)))
        skin = skin * (1 - soft * random.uniform(0.1, 0.65))[..., None]
    return np.asarray(np.clip(skin * random.uniform(0.75, 1.25), 0, 1), np.float32)


def photographed(skin: Float, random: Random) -> Float:
    """Fewer pixels, grain, and the blocks of a codec."""
    if chance(random, 0.5):
        side = int(random.integers(40, SIDE))
        skin = cv2.resize(cv2.resize(skin, (side, side), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
    skin = skin + random.normal(0, random.uniform(0, 0.025), skin.shape)
    levels = np.asarray(np.clip(skin, 0, 1) * 255, np.uint8)
    if chance(random, 0.4):
        _, coded = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(30, 95))])
        levels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(levels, np.float32) / 255
