"""The target's expression on the source's skin: folds that come and go.

The mesh carries what an expression moves: brows that sink, a mouth that widens, cheeks that rise. What it cannot carry
are the folds that the skin throws: between the brows in a frown, beside the mouth in a smile, across the forehead. They
are what changes in the target's lightness, in the atlas, against its own usual look, between the widths of a fold; that
change is added to the source's skin. So a target's wrinkles that are always there stay out, and its frown comes in.

One expression can be told from a single picture, or from a face that keeps it from the first frame on: a frown, by the
dark upright folds between the brows, which a face at rest has not as deep. They are laid on where the source's own are
less deep.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.landmarks import LEFT_BROW, LEFT_EYE, OUTER_LIPS, OVAL, RIGHT_BROW, RIGHT_EYE
from services.facefusion.mesh import Mesh, contour_mask
from services.facefusion.occlusion import ATLAS_SIDE

FINEST, COARSEST = 0.8, 5.0  # pixels of the atlas: sigmas between which the folds of a face lie
LEARN = 1 / 300  # share of a new frame in the usual look: a frown that lasts for seconds is none of it
NOISE = 1.0  # of 100 in lightness: changes without a meaning, from landmarks and grain
SMALL = 3.0  # of 100 in lightness: what changes by more is an expression, and is learnt slowly from the start
SEEN = 0.9  # of a place that nothing covers
MOST = 20.0  # of 100 in lightness: no fold is darker
REST, FROWN = 1.5, 2.2  # of 100 in lightness, `upright`: as deep as on no face at rest (0.5 to 1.4), surely a frown
WHOLE = 2.0  # depth of such a fold over that of `upright`, which is an average along it
GLABELLA = (55, 107, 108, 337, 336, 285, 8)  # landmarks around the skin between the brows


@dataclass
class ExpressionMemory:
    """How the folds of one track's face have usually looked."""

    usual: Float | None = None  # (ATLAS_SIDE, ATLAS_SIDE): `folds`, slowly averaged
    frames: int = 0

    def update(self, lab: Float, clear: Float, own: Float | None = None) -> Float:
        """Take one frame's face (ATLAS_SIDE, ATLAS_SIDE, 3 Lab); return how much lighter its folds are than usual.

        `clear` is 1 where nothing covers the face, else 0. With `own`, the source's `upright`, a frown that is usual
        counts as well. The result is (ATLAS_SIDE, ATLAS_SIDE), in lightness 0-100.
        """
        now = folds(lab[..., 0])
        if self.usual is None:
            self.usual = now.copy()
        self.frames += 1
        away = now - self.usual
        rate = np.where(np.abs(away) < SMALL, max(LEARN, 1 / self.frames), LEARN) * (clear > SEEN)
        change = away * (skin() * clear)
        self.usual += (rate * away).astype(np.float32)
        found = np.asarray(np.sign(change) * np.clip(np.abs(change) - NOISE, 0, MOST), np.float32)
        return found if own is None else found + frown(upright(self.usual), own) * clear


def frown(depth: Float, own: Float) -> Float:
    """Return how much darker a frown makes the source's skin, at most 0; `depth` and `own` are `upright`."""
    certainty = float(np.clip((-depth.min() - REST) / (FROWN - REST), 0, 1))
    return np.asarray(certainty * WHOLE * np.minimum(depth - own, 0), np.float32)


def upright(found: Float) -> Float:
    """Keep of `folds` the dark upright ones between the brows: how deep they are, at most 0."""
    narrow = cv2.GaussianBlur(found, (0, 0), 0.5, sigmaY=3)
    lines = cv2.subtract(narrow, cv2.GaussianBlur(narrow, (0, 0), 3.5, sigmaY=0.5))
    return np.asarray(np.minimum(lines, 0) * between_the_brows(), np.float32)


def folds(lightness: Float) -> Float:
    """Keep of (h, w) lightness what is as wide as a fold of the skin."""
    finer = cv2.GaussianBlur(lightness, (0, 0), FINEST)
    return np.asarray(finer - cv2.GaussianBlur(finer, (0, 0), COARSEST), np.float32)


@cache
def between_the_brows() -> Float:
    """0-1 in the atlas: the skin that a frown draws together."""
    around = cv2.convexHull(np.round((Mesh.load().points * ATLAS_SIDE - 0.5)[list(GLABELLA)]).astype(np.int32))
    inside = cv2.fillPoly(np.zeros((ATLAS_SIDE, ATLAS_SIDE), np.float32), [around], 1)
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), 2) * skin(), np.float32)


@cache
def skin() -> Float:
    """0-1 in the atlas: where folds are the skin's; not at brows, eyes and lips, whose own edges move there."""
    oval = cv2.erode((contour_mask(ATLAS_SIDE, OVAL) > 0).astype(np.float32), np.ones((7, 7), np.uint8))
    edges = cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_EYE, RIGHT_EYE), np.ones((9, 9), np.uint8))
    edges = np.maximum(edges, cv2.dilate(contour_mask(ATLAS_SIDE, OUTER_LIPS), np.ones((7, 7), np.uint8)))
    edges = np.maximum(edges, cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_BROW, RIGHT_BROW), np.ones((5, 5), np.uint8)))
    return np.asarray(cv2.GaussianBlur(oval * (1 - np.clip(edges, 0, 1)), (0, 0), 1.5), np.float32)
