"""Texture at the target's grain and blur, and a face that is painted only as large as its features need.

A person is recognised by what is larger than about a fiftieth of the face, and by the lines of brows, eyes, nose and
mouth; what is finer on the skin is pores, stubble, the grain of a film and the marks of its compression. So the two are
taken from two pictures: the former from the painted face, the latter from the frame itself, where it has the right
strength and moves as grain moves. The painted face therefore needs no more pixels than its features do: it is painted
in a frame that is `factor` times smaller, and what that changed is enlarged and added to the frame as it was.

Each is cut off by a blur, at two widths such that the energies of the two add up to about that of the target: with one
width for both, a quarter of the energy would be missing where they meet. A source whose lines are sharper than the
target's is blurred as much as the target is, or the blurred frame would hold a sharp face; one whose lines are softer,
a small photograph in a large frame, is sharpened (`Sharpness`). The hairs of brows and lashes are the target's.
"""

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.landmarks import LEFT_BROW, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE
from services.facefusion.mesh import bounds, contour_mask
from services.facefusion.occlusion import ATLAS_SIDE
from services.facefusion.sharpness import Sharpness, blurred
from services.facefusion.swapper import Patch, View
from shared.arrays import Image

FINE = 0.003  # of the face's height: the sigma of the blur that keeps what is the source's; 1.2 pixels of 400
FINE_HEIGHT = 400  # pixels: of a higher face it grows by the root of the height, so that more detail is the source's
LEAST_FINE = 0.4  # pixels
TARGET_WIDER = 1.95  # width of the target's blur over that of the source's
PIXELS_A_SIGMA = 2.4  # how many frame pixels a painted pixel may cover, for each pixel of the sigma
OVER_FEATURES = 2.0  # over the mean size of the grain: what is larger is a line of the target's face
OVER_HAIRS = 5.0  # the same, for what is lighter between and beside the hairs of brows and lashes
FINER = 2.5  # how much larger grain is in the frame than in a picture that is several times smaller
NOSE = (5, 115, 48, 64, 98, 97, 2, 326, 327, 294, 278, 344)  # landmarks around its tip and its wings
MEAN: Float = np.full((1, 3), 1 / 3, np.float32)  # of the three channels


@dataclass(frozen=True)
class Reduced:
    """One face of a frame, in a picture of its own that is `factor` times smaller."""

    image: Image  # (h, w, 3): the part of the frame around the face
    view: View  # in pixels of `image`
    frame: Image  # (H, W, 3): the frame itself
    corner: tuple[int, int]  # (x, y) of `image` in the frame
    factor: int
    sigma: float  # in pixels of `image`: of the blur that keeps what is the source's, as a whole

    @classmethod
    def of(cls, frame: Image, view: View) -> "Reduced | None":
        """Cut a face out of a frame and reduce it as far as its features allow; None outside the frame."""
        found = bounds(view.landmarks, (frame.shape[0], frame.shape[1]))
        if found is None:
            return None
        height = float(np.ptp(view.landmarks[:, 1]))
        sigma = fine(height)
        factor = max(int(PIXELS_A_SIGMA * sigma), 1)
        margin = 4 * factor
        left, top = (max(int(value) - margin, 0) for value in found[0])
        right, bottom = (int(low + side) + margin for low, side in zip(*found, strict=True))
        part = frame[top:bottom, left:right]
        missing = (-part.shape[0] % factor, -part.shape[1] % factor)
        if any(missing):  # at the frame's edge
            part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        size = (part.shape[1] // factor, part.shape[0] // factor)
        small = part if factor == 1 else cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        landmarks = view.landmarks / factor
        landmarks[:, :2] += (0.5 - np.array([left, top], np.float32)) / factor - 0.5
        moved = replace(view, landmarks=landmarks.astype(np.float32))
        return cls(np.asarray(small, np.uint8), moved, frame, (left, top), factor, sigma / factor)

    def enlarged(self, patch: Patch, features: Float, sharp: Sharpness) -> Patch:
        """Return a patch of `image` as one of the frame, with the frame's texture.

        `features` (h, w, 2) as the function of that name, whose finest lines are the source's; `sharp` tells how sharp.
        """
        height, width = patch.mask.shape
        covered = self.image[patch.y : patch.y + height, patch.x : patch.x + width].astype(np.float32)
        drawn, own = (np.asarray(part, np.float32) for part in cv2.split(features))
        grain, limit = self._grain(covered, patch.mask, drawn, own)
        crisp = self._of_source(patch.pixels, drawn, sharp)
        pixels, mask = np.asarray(cv2.add(crisp, grain), np.float32), patch.mask
        x, y = self.corner[0] + patch.x * self.factor, self.corner[1] + patch.y * self.factor
        if self.factor > 1:
            size = (width * self.factor, height * self.factor)
            pixels, mask, covered, limit = (
                np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.float32)
                for part in (pixels, mask, covered, limit)
            )
            part = self.frame[y : y + mask.shape[0], x : x + mask.shape[1]]
            inside = np.s_[: part.shape[0], : part.shape[1]]  # `image` may have been continued beyond the frame
            finer = np.asarray(cv2.subtract(part, covered[inside], dtype=cv2.CV_32F), np.float32)
            most = limit[inside] * FINER
            finer = limited(finer, most, most)
            pixels, mask = np.asarray(cv2.add(pixels[inside], finer), np.float32), mask[inside]
        height, width = (min(side, whole) for side, whole in zip(mask.shape, self._room(x, y), strict=True))
        return Patch(x, y, np.clip(pixels[:height, :width], 0, 255), mask[:height, :width])

    def _room(self, x: int, y: int) -> tuple[int, int]:
        """Return (height, width) of the frame from a place on."""
        return self.frame.shape[0] - y, self.frame.shape[1] - x

    def _of_source(self, pixels: Float, features: Float, sharp: Sharpness) -> Float:
        """Return what is the source's: of its skin what is coarser than grain, of its features all."""
        soft = blurred(pixels, self._small(self.sigma * float(np.hypot(1, sharp.blur))))
        crisp = blurred(pixels, self._small(self.sigma * sharp.blur))
        lines = cv2.subtract(crisp, soft)
        if sharp.gain > 1:  # in grey: colours would show the marks of the source's compression
            grey = np.asarray(cv2.transform(crisp, MEAN), np.float32)
            added = (grey - blurred(grey, self.sigma * sharp.width)) * np.float32(sharp.gain - 1)
            lines = cv2.add(lines, cv2.merge([added] * 3), dst=lines)
        more = cv2.multiply(lines, cv2.merge([features] * 3))
        return np.asarray(cv2.add(soft, more, dst=more), np.float32)

    def _grain(self, covered: Float, mask: Float, features: Float, own: Float) -> tuple[Float, Float]:
        """Return what is the target's: what is finer, where its lines are its own no more than the grain over them.

        And how much more may be added to a pixel (h, w). A hair is dark, and what looks light beside it is skin that
        the new face does not have: of that less is kept.
        """
        coarse = blurred(covered, self._small(self.sigma * TARGET_WIDER))
        found = np.asarray(cv2.subtract(covered, coarse), np.float32)
        weight = mask * (1 - features)
        size = cv2.transform(np.abs(found), MEAN)
        usual = float(size.ravel() @ weight.ravel()) / max(float(weight.sum()), 1.0)
        darker, lighter = (
            np.asarray(usual * most / np.maximum(part, 1e-3), np.float32)
            for most, part in (
                (OVER_FEATURES, own),
                (OVER_HAIRS, np.maximum(features, own * OVER_HAIRS / OVER_FEATURES)),
            )
        )
        return limited(found, darker, lighter), darker

    def _small(self, sigma: float) -> float:
        """Return the blur that is missing to `sigma`: enlarging blurs, too, by the variance of its box and triangle."""
        return float(np.sqrt(max(sigma**2 - (0 if self.factor == 1 else 0.25), 0)))


def limited(picture: Float, darker: Float, lighter: Float) -> Float:
    """Keep a picture (h, w, 3) from minus `darker` to plus `lighter` (h, w)."""
    most = np.asarray(cv2.merge([lighter] * 3), np.float32)
    kept = cv2.min(picture, most, dst=picture)
    least = most if darker is lighter else np.asarray(cv2.merge([darker] * 3), np.float32)
    return np.asarray(cv2.max(kept, np.negative(least, out=least), dst=kept), np.float32)


def fine(height: float) -> float:
    """Return the sigma, in pixels, of the blur that keeps what is the source's of a face of `height` pixels."""
    high = max(height / FINE_HEIGHT, 1.0)
    return max(FINE * height / float(np.sqrt(high)), LEAST_FINE)


@cache
def features() -> Float:
    """0-1 in the atlas (ATLAS_SIDE, ATLAS_SIDE, 2): brows, eyes, nose and mouth, and of these nose and mouth alone.

    By their lines a person is recognised. The hairs of brows and lashes are finer than those lines and lie on any
    brow and lid; the target's nostrils and lips lie elsewhere than the source's, and their edges would be seen twice.
    """
    own = cv2.dilate(contour_mask(ATLAS_SIDE, OUTER_LIPS, NOSE), np.ones((9, 9), np.uint8))
    near = cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_EYE, RIGHT_EYE), np.ones((13, 13), np.uint8))
    near = np.maximum(near, cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_BROW, RIGHT_BROW), np.ones((9, 9), np.uint8)))
    return np.asarray(cv2.GaussianBlur(cv2.merge([np.maximum(near, own), own]), (0, 0), 2), np.float32)
