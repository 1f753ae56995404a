"""Faces with something put in front of them, of which every pixel is known.

- hand: cut out of frame 180 of `clip-woman-hands` along an outline drawn by eye, in the colours of
  the person's own skin;
- cup: cut out of scikit-image's `coffee.png` (Rachel Michetti, CC0; `cup.png` here);
- microphone, glasses, sunglasses: drawn, with shine, grille and shadow, because no freely licensed photographs of them
  were at hand.

Glasses move with the head; the others move across the face or stay at the mouth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.faces.media import frames_of
from services.facefusion.face import Float
from services.facefusion.landmarks import LEFT_EYE, OVAL, RIGHT_EYE
from shared.arrays import Image

HAND_FRAME = 180
HAND_OUTLINE = (
    (296, 360), (303, 335), (307, 309), (310, 286), (315, 271), (321, 257), (327, 238), (334, 220), (336, 212),
    (343, 203), (349, 202), (356, 210), (357, 218), (363, 207), (366, 197), (370, 188), (376, 184), (385, 188),
    (389, 196), (389, 204), (391, 202), (395, 200), (404, 202), (409, 210), (408, 222), (405, 238), (402, 253),
    (397, 268), (393, 284), (390, 302), (388, 319), (386, 325), (390, 333), (399, 319), (404, 309), (413, 300),
    (426, 291), (436, 279), (442, 268), (450, 265), (456, 270), (456, 279), (449, 291), (439, 308), (427, 325),
    (421, 342), (413, 360),
)  # fmt: skip  # x, y in pixels of the frame
KINDS = ("hand", "microphone", "glasses", "sunglasses", "cup")
FINE = 4  # what is drawn is drawn so many times as large
ENTERS = 0.35  # share of the frames after which something comes that is not there from the start


@dataclass(frozen=True)
class Cutout:
    """A thing: (h, w, 3) RGB 0-255 and (h, w) 0-1, how opaque it is."""

    pixels: Float
    opacity: Float
    anchor: tuple[float, float]  # x, y of the pixel that is put where the thing is wanted
    width: float  # of the thing over the width of a face
    anchor_is_eyes: bool = False  # it sits on the nose, between the eyes


@dataclass(frozen=True)
class Composite:
    """A frame with something in front of the face."""

    image: Image
    covered: Float  # (H, W) 0-1: the share of the thing in each pixel


def composite(kind: str, frames: list[Image], landmarks: list[Float], *, enters: bool) -> list[Composite]:
    """Put a thing in front of the face of consecutive frames, whose (468, 3) landmarks are known.

    It is there from the first frame on, or `enters` after a third of them.
    """
    thing, made = cutout(kind), []
    for index, (frame, points) in enumerate(zip(frames, landmarks, strict=True)):
        since = index / (len(frames) - 1) if len(frames) > 1 else 0.5  # a still shows the middle of the way
        if enters and since < ENTERS:
            made.append(Composite(frame, np.zeros(frame.shape[:2], np.float32)))
            continue
        made.append(placed(thing, frame, points, PATHS[kind](since, index), tone=kind == "hand"))
    return made


def placed(thing: Cutout, frame: Image, points: Float, at: tuple[float, float, float], *, tone: bool) -> Composite:
    """Put a thing over one face; `at` is its place in widths of the face from its middle, and its turn in degrees."""
    left, right = points[list(LEFT_EYE), :2].mean(0), points[list(RIGHT_EYE), :2].mean(0)
    across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-3)
    width = float(np.ptp(points[list(OVAL), :2] @ across))
    down = np.array([-across[1], across[0]])
    spot = points[list(OVAL), :2].mean(0) + (across * at[0] + down * at[1]) * width
    if thing.anchor_is_eyes:
        spot = (left + right) / 2 + down * 0.02 * width
    angle = -np.degrees(np.arctan2(across[1], across[0])) + at[2]
    scale = width * thing.width / thing.pixels.shape[1]
    matrix = cv2.getRotationMatrix2D(thing.anchor, float(angle), scale)
    matrix[:, 2] += spot - np.array(thing.anchor)
    size = (frame.shape[1], frame.shape[0])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    soft = cv2.GaussianBlur(thing.opacity, (0, 0), max(0.45 / scale, 0.3))
    look = cv2.GaussianBlur(thing.pixels, (0, 0), max(0.35 / scale, 0.3))
    pixels = np.asarray(cv2.warpAffine(look, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)
    covered = np.asarray(cv2.warpAffine(soft, matrix, size, flags=flags), np.float32)
    if tone:
        pixels = np.clip(pixels * (skin_of(frame, points) / pixels_of(thing)), 0, 255)
    shift = np.array([[1, 0, 0.012 * width], [0, 1, 0.03 * width]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(covered, shift, size), (0, 0), 0.02 * width)
    shaded = frame * (1 - 0.3 * shadow[..., None])
    mixed = shaded * (1 - covered[..., None]) + pixels * covered[..., None]
    return Composite(np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8), np.clip(covered, 0, 1))


def skin_of(frame: Image, points: Float) -> Float:
    """Mean colour of the cheeks and the bridge of the nose, RGB."""
    spots = np.clip(np.rint(points[[50, 280, 205, 425, 6, 151], :2]).astype(int), 0, np.array(frame.shape[1::-1]) - 1)
    return np.asarray(frame[spots[:, 1], spots[:, 0]].astype(np.float32).mean(0) + 1, np.float32)


def pixels_of(thing: Cutout) -> Float:
    """Mean colour of a thing, RGB."""
    return np.asarray(thing.pixels[thing.opacity > 0.9].mean(0) + 1, np.float32)  # noqa: PLR2004


# Where things go: share of the time 0-1 and the frame's number to (x, y) in face widths, and degrees


def _across(since: float, index: int) -> tuple[float, float, float]:
    """From the lower left corner over mouth and cheek to the other side, trembling."""
    return -0.45 + 0.75 * since, 0.45 - 0.35 * np.sin(np.pi * since), -8 + 20 * since + 2 * np.sin(index)


def _at_mouth(since: float, index: int) -> tuple[float, float, float]:
    """In front of the chin, up to the mouth and away again."""
    return 0.10 * np.sin(index / 7), 0.52 - 0.16 * np.sin(np.pi * since), 12 + 6 * np.sin(index / 9)


def _on_nose(_since: float, _index: int) -> tuple[float, float, float]:
    return 0.0, 0.0, 0.0


PATHS: dict[str, Callable[[float, int], tuple[float, float, float]]] = {
    "hand": _across,
    "microphone": _at_mouth,
    "cup": _at_mouth,
    "glasses": _on_nose,
    "sunglasses": _on_nose,
}


# The things


@cache
def cutout(kind: str) -> Cutout:
    """Make a thing once."""
    things: dict[str, Callable[[], Cutout]] = {
        "hand": hand,
        "cup": cup,
        "microphone": microphone,
        "glasses": glasses,
        "sunglasses": partial(glasses, dark=True),
    }
    return things[kind]()


def hand() -> Cutout:
    """Cut out the hand of the woman, as far as the frame shows it."""
    frame = frames_of("clip-woman-hands", 1, HAND_FRAME)[0]
    outline = np.array(HAND_OUTLINE, np.float32)
    low, high = outline.min(0).astype(int) - 4, np.minimum(outline.max(0).astype(int) + 4, [640, 360])
    part = frame[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    fixed = np.round((outline - low) * 16).astype(np.int32)
    inside = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(inside, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
    opacity = np.asarray(cv2.erode(inside, np.ones((3, 3), np.uint8)), np.float32) / np.float32(
        255
    )  # what was behind it stays behind
    return Cutout(part, opacity, (part.shape[1] * 0.55, part.shape[0] * 0.25), 0.8)


def cup() -> Cutout:
    """Return the cup, seen from above."""
    stored = cv2.imread(str(Path(__file__).with_name("cup.png")), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    pixels = np.asarray(stored[..., 2::-1], np.float32)
    return Cutout(
        pixels, np.asarray(stored[..., 3] / 255, np.float32), (stored.shape[1] * 0.5, stored.shape[0] * 0.3), 0.6
    )


def microphone() -> Cutout:
    """Draw a hand-held microphone: a round grille of woven wire, a ring, a tapered black handle with a reflection."""
    height, width = 760, 240
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    head = np.hypot((columns - 120) / 108, (rows - 116) / 112)
    wire = 0.5 + 0.25 * np.sin((columns + rows) * 0.62) + 0.25 * np.sin((columns - rows) * 0.62)
    ball = np.sqrt(np.clip(1 - head**2, 0, 1))
    facing = np.clip((120 - columns) / 108 * 0.4 + (116 - rows) / 112 * 0.5 + ball * 0.75, 0, 1)
    grille = 18 + 95 * wire * (0.25 + 0.75 * ball) * (0.35 + facing) + 130 * facing**12
    half = 64 - (rows - 220) * 0.035
    round_ = np.clip(1 - ((columns - 120) / np.maximum(half, 1)) ** 2, 0, 1)
    handle = 14 + 26 * np.sqrt(round_) + 90 * np.exp(-(((columns - 96) / 7) ** 2))
    ring = (rows > 206) & (rows < 236) & (np.abs(columns - 120) < 74)  # noqa: PLR2004
    grey = np.where(head < 1, grille, handle)
    grey = np.where(ring, 60 + 120 * np.exp(-(((columns - 92) / 16) ** 2)), grey)
    opacity = ((head < 1) | ring | ((rows > 205) & (np.abs(columns - 120) < half))).astype(np.float32)  # noqa: PLR2004
    pixels = grey[..., None] * np.array([1.0, 1.0, 1.03], np.float32)
    return Cutout(np.clip(pixels, 0, 255).astype(np.float32), opacity, (120.0, 116.0), 0.36)


def glasses(*, dark: bool = False) -> Cutout:
    """Draw a pair of glasses from the front: an acetate frame with a line of light, clear or dark lenses, temples."""
    height, width = 380, 1000
    shape, lens, lines = (np.zeros((height, width), np.uint8) for _ in range(3))
    for middle in (280, 720):
        box = np.array([[-165, -95], [160, -100], [172, -20], [120, 105], [-105, 110], [-168, 10]], np.float32)
        side = 1 if middle > width / 2 else -1
        corners = (box * np.array([side, 1]) + [middle, 180]).astype(np.int32)
        smooth = cv2.GaussianBlur(cv2.fillPoly(np.zeros_like(shape), [corners], 255), (0, 0), 22)
        inner = (smooth > 128).astype(np.uint8)  # noqa: PLR2004
        lens |= inner
        contours, _ = cv2.findContours(inner, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shape, contours, -1, 1, 24)
        cv2.drawContours(lines, contours, -1, 255, 3, offset=(-5, -6))
        start, end = (middle + side * 160, 105), (middle + side * 270, 120)
        cv2.line(shape, start, end, 1, 26)
        cv2.line(lines, (start[0], start[1] - 6), (end[0], end[1] - 6), 255, 3)
    cv2.ellipse(shape, (500, 140), (62, 30), 0, 180, 360, 1, 22)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    frame = np.array([46, 30, 24], np.float32) * (1 + 0.35 * np.sin(columns / 37) * np.sin(rows / 23))[..., None]
    frame = frame + cv2.GaussianBlur(lines, (0, 0), 2).astype(np.float32)[..., None] * 0.7
    glass = np.array([26, 26, 30], np.float32) * (1.7 - rows / height)[..., None]
    sky = np.exp(-(((columns * 0.5 + rows - 330) % 440 - 60) ** 2) / 500)
    pixels = np.where(shape[..., None] > 0, frame, glass + 60 * sky[..., None] if dark else 255.0)
    veil = (lens * (0.05 + 0.12 * sky)).astype(np.float32)  # clear lenses: a thin reflection that covers nothing
    opacity = np.maximum(shape, lens * 0.97 if dark else veil).astype(np.float32)
    return Cutout(np.clip(pixels, 0, 255).astype(np.float32), opacity, (500.0, 165.0), 0.98, anchor_is_eyes=True)
