"""What covers a face: hair that falls over it, a hand in front of it.

Detected in the atlas, where a face that moves and speaks hardly moves. Two measured criteria:

- **Hair**, from one frame: pixels much darker than the face's own skin that are connected to the rim of the face.
- **Hands** and other objects, from the track: pixels that differ in their texture and colour from the earlier
  appearance of the track, if the patch is large and enters over the rim. What covers the face is learnt only very
  slowly, so a hand may stay for seconds; an expression is learnt within half a second.

On a clip with hands in front of the face 96 % of the hand's pixels are found, with a quarter of the face beside it; of
a talking face without a hand 0.02 % are taken for one (docs/facefusion.md). What is there from a track's first frame on
is taken for the face, unless a network (services/facefusion/occluder.py) sees it.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from services.facefusion.face import Float
from services.facefusion.landmarks import INNER_LIPS, LEFT_BROW, LEFT_EYE, OUTER_LIPS, OVAL, RIGHT_BROW, RIGHT_EYE
from services.facefusion.mesh import contour_mask

ATLAS_SIDE = 128  # pixels of the atlas in which occlusion is detected
RIM = 7  # pixels: the band of the oval that an object from outside crosses
DARK, BLACK = 0.42, 0.60  # darker than the skin by this share: perhaps hair, certainly hair
NOISE: Float = np.array([5.0, 1.6, 1.6], np.float32)  # Lab differences without meaning
SUM: Float = np.ones((1, 3), np.float32)  # of the three channels
LIGHT_SIGMA = 12.0  # pixels: slower changes of lightness than this are light, not objects
DIFFERENT, STRANGE = 0.75, 1.6  # difference over noise: may be an occluder, needed where it crosses the rim
LEAST_AREA = 0.02  # of the oval, for an object
LEARN, LEARN_DOUBTFUL, LEARN_HIDDEN = 0.08, 0.06, 0.002  # share of a new frame that the memory takes
MASK_LEARN, MASK_LEARN_NETWORK = 0.5, 0.75  # share of a new mask that is taken: occluders come and go in some frames
SUSPICION = 0.12  # the network's output must be over this for others to count, and twice as high for all of them
MARGIN = 7  # pixels added across hair where no network has looked
DOUBT, MIDDLE, CERTAINTY = 0.2, 0.3, 0.5  # the network's output: up to the first nothing, from the last on all
LEAST_SPECK = 0.002  # of the oval, for a patch of the network's

Mask = npt.NDArray[np.bool_]


def hair(lab: Float, margin: int = MARGIN) -> Float:
    """0-1 in the atlas, 1 where hair covers the face of one frame (ATLAS_SIDE, ATLAS_SIDE, 3 Lab).

    `margin` pixels are added across, in which skin and hair are mixed.
    """
    skin = float(skin_median(lab[..., 0]))
    darkness = 1 - lab[..., 0] / max(skin, 1.0)
    candidates = (darkness > DARK) & oval() & ~features(around=3)
    found = entered(candidates, (darkness > BLACK) & rim(), least=0.004)
    # Hair may reach the tip of a brow but not cut it off.
    grown = cv2.dilate(found.astype(np.float32), ellipse(margin)) * beside_brows()
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), 1.5), np.float32)


@dataclass
class OcclusionMemory:
    """The appearance of one track so far; its next frame is compared with that."""

    usual: Float | None = None  # (ATLAS_SIDE, ATLAS_SIDE, 3): `texture`, slowly averaged
    spread: Float | None = None  # the usual difference from it
    hidden: Float | None = None  # the mask so far
    frames: int = 0

    def update(self, lab: Float, covered: Float | None = None) -> Float:
        """Take one frame's face (ATLAS_SIDE, ATLAS_SIDE, 3 Lab); return 0-1, 1 where nothing covers the face.

        `covered`, 0-1 in the atlas, is what a network takes for covered in this frame alone.
        """
        now = texture(lab)
        if self.usual is None or self.spread is None:
            self.usual, self.spread = now.copy(), np.zeros_like(now)
        distance = np.abs(now - self.usual)
        ratio = cv2.divide(distance, cv2.scaleAdd(self.spread, 1.5, noise()))
        strangeness = np.sqrt(cv2.transform(cv2.multiply(ratio, ratio), SUM)) * compared()
        strangeness = cv2.GaussianBlur(strangeness, (0, 0), 4) / share_compared()
        objects = entered((strangeness > DIFFERENT) & oval(), (strangeness > STRANGE) & rim(), least=LEAST_AREA)
        self.frames += 1
        visible = np.where(strangeness < DIFFERENT, LEARN, LEARN_DOUBTFUL)
        rate = np.where(objects, LEARN_HIDDEN, np.maximum(visible, 1 / self.frames)).astype(np.float32)
        rates = cv2.merge([rate] * 3)
        self.usual += cv2.multiply(rates, cv2.subtract(now, self.usual))
        self.spread += cv2.multiply(rates, cv2.subtract(distance, self.spread))
        soft = np.asarray(cv2.GaussianBlur(objects.astype(np.float32), (0, 0), 2.0), np.float32)
        found = np.maximum(soft, hair(lab)) if covered is None else together(soft, hair(lab, margin=1), covered)
        before = found if self.hidden is None else self.hidden
        share = MASK_LEARN if covered is None else MASK_LEARN_NETWORK
        self.hidden = np.asarray(before + share * (found - before), np.float32)
        return np.clip(1 - self.hidden, 0, 1)


def together(patches: Float, dark: Float, covered: Float) -> Float:
    """Combine what the memory and what darkness find with what a network does, all 0-1 in the atlas.

    The network counts by itself, for patches that enter over the rim or lie at the eyes. The others, which take quick
    smiles for objects and shade for hair, and whose patches are some pixels too wide, count where the network has at
    least a suspicion.
    """
    suspected = np.clip((covered - SUSPICION) / SUSPICION, 0, 1)
    certain = np.clip((covered - DOUBT) / (CERTAINTY - DOUBT), 0, 1)
    patch = entered(covered > MIDDLE, entrance(), least=LEAST_SPECK, thin=True)
    certain *= cv2.dilate(patch.astype(np.float32), ellipse(5))
    return np.asarray(np.maximum(np.maximum(patches, dark) * suspected, certain), np.float32)


def texture(lab: Float) -> Float:
    """Lightness minus its slow change, a and b minus their median: the same under another light."""
    lightness, *colours = (np.asarray(plane, np.float32) for plane in cv2.split(lab))
    light = cv2.GaussianBlur(lightness * oval(), (0, 0), LIGHT_SIGMA) / share_lit()
    found = cv2.merge([lightness - light, *(plane - skin_median(plane) for plane in colours)])
    return np.asarray(cv2.GaussianBlur(found, (0, 0), 1.0), np.float32)


def entered(candidates: Mask, entrance: Mask, *, least: float, thin: bool = False) -> Mask:
    """Patches of `candidates`, at least a share of the oval in size, that contain some of `entrance`; holes closed.

    `thin` ones, of a pixel or two, count as well.
    """
    opened = candidates.astype(np.uint8)
    if not thin:
        opened = np.asarray(cv2.morphologyEx(opened, cv2.MORPH_OPEN, ellipse(3)), np.uint8)
    count, labels, patches, _ = cv2.connectedComponentsWithStats(opened)
    large = patches[:, cv2.CC_STAT_AREA] >= least * oval().sum()
    entering = np.bincount(labels[entrance], minlength=count) > 0
    chosen = large & entering
    chosen[0] = False
    kept = cv2.morphologyEx(chosen[labels].astype(np.uint8), cv2.MORPH_CLOSE, ellipse(9))
    return np.asarray(kept > 0, np.bool_)


def ellipse(side: int) -> npt.NDArray[np.uint8]:
    """Return a round structuring element."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def skin_median(plane: npt.NDArray[np.floating]) -> np.float32:
    """Return the median of the plain skin in one channel (ATLAS_SIDE, ATLAS_SIDE) of the atlas."""
    return np.float32(np.median(plane.ravel()[_skin_places()]))


@cache
def _skin_places() -> npt.NDArray[np.intp]:
    return np.flatnonzero(plain_skin() > 0)


@cache
def share_lit() -> Float:
    """Return what the blur that finds the light leaves of the oval, to divide by."""
    return np.maximum(cv2.GaussianBlur(oval().astype(np.float32), (0, 0), LIGHT_SIGMA), 1e-3)


@cache
def noise() -> Float:
    """Return `NOISE` for each pixel of the atlas: OpenCV adds pictures faster than NumPy adds three numbers to one."""
    return np.broadcast_to(NOISE, (ATLAS_SIDE, ATLAS_SIDE, 3)).copy()


@cache
def beside_brows() -> Float:
    """1 where hair may be found: not inside of brows, eyes and lips."""
    return np.asarray(1 - cv2.erode(features(around=1).astype(np.float32), ellipse(5)), np.float32)


@cache
def oval() -> Mask:
    """Where the face is in the atlas."""
    return contour_mask(ATLAS_SIDE, OVAL) > 0


@cache
def rim() -> Mask:
    """Return the band of the oval over which objects enter."""
    return oval() & ~(cv2.erode(oval().astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0)


@cache
def entrance() -> Mask:
    """Where something in front of a face begins: at the rim, and at the eyes, where lenses are."""
    eyes = cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_EYE, RIGHT_EYE), ellipse(9)) > 0
    return rim() | eyes


@cache
def features(around: int = 7) -> Mask:
    """Brows, eyes and mouth with some pixels around: dark without being hair."""
    small = contour_mask(ATLAS_SIDE, OUTER_LIPS, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW)
    return cv2.dilate(small, ellipse(around)) > 0


@cache
def plain_skin() -> Float:
    """Return the atlas without its rim, brows, eyes and lips: where colours are measured."""
    small = contour_mask(ATLAS_SIDE, OUTER_LIPS, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW)
    inner = cv2.erode(oval().astype(np.float32), np.ones((13, 13), np.uint8))
    return np.asarray(inner * (1 - np.clip(cv2.dilate(small, np.ones((9, 9), np.uint8)), 0, 1)), np.float32)


@cache
def compared() -> Float:
    """Where a difference counts: not in the eyes and not inside the mouth, which change by themselves."""
    changing = cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_EYE, RIGHT_EYE), np.ones((7, 7), np.uint8))
    changing = np.maximum(changing, cv2.dilate(contour_mask(ATLAS_SIDE, INNER_LIPS), np.ones((3, 3), np.uint8)))
    return np.asarray(oval() * (1 - changing), np.float32)


@cache
def share_compared() -> Float:
    """Return what a blur of `compared` leaves, to divide by."""
    return np.maximum(cv2.GaussianBlur(compared(), (0, 0), 4), 1e-2)
