"""Texture at the target's grain and blur, and a face that is painted only as large as its features need.

A person is recognised by what is larger than about a fiftieth of the face, and by the lines of brows, eyes, nose and
mouth; what is finer on the skin is pores, stubble, the grain of a film and the marks of its compression. So the two are
taken from two pictures: the former from the painted face, the latter from the frame itself, where it has the right
strength and moves as grain moves. The painted face therefore needs no more pixels than its features do: it is painted
in a frame that is `factor` times smaller, and what that changed is enlarged and added to the frame as it was.

Each is cut off by a blur, at two widths such that the energies of the two add up to that of the target: with one width
for both, a quarter of the energy would be missing where they meet. A source that is sharper than the target is blurred
as much as the target is (`extra_blur`), or the blurred frame would hold a sharp face.
"""

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.landmarks import LEFT_BROW, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE
from services.facefusion.mesh import bounds, contour_mask
from services.facefusion.occlusion import ATLAS_SIDE
from services.facefusion.swapper import Patch, View
from shared.arrays import Image

FINE = 0.003  # of the face's height: the sigma of the blur that keeps what is the source's; 1.2 pixels of 400
FINE_HEIGHT = (
    400  # pixels: of a higher face it grows by the root of the height only, so that more detail is the source's
)
LEAST_FINE = 0.4  # pixels
TARGET_WIDER = 1.6  # width of the target's blur over that of the source's
PIXELS_A_SIGMA = 2.4  # how many frame pixels a painted pixel may cover, for each pixel of the sigma
OVER_FEATURES = 2.0  # over the mean size of the grain: what is larger is a line of the target's face
FINER = 2.5  # how much larger grain is in the frame than in a picture that is several times smaller
BAND = 0.013  # over sigma^2: f^2 where the energy of a face's detail lies in the measured band
NOSE = (5, 115, 48, 64, 98, 97, 2, 326, 327, 294, 278, 344)  # landmarks around its tip and its wings
MEAN: Float = np.full((1, 3), 1 / 3, np.float32)  # of the three channels
MOST_BLUR = 4.0  # over the sigma: a source is blurred no further


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

    def enlarged(self, patch: Patch, features: Float, surplus: float) -> Patch:
        """Return a patch of `image` as one of the frame, with the frame's texture.

        `features` (h, w) is 1 where the face's features are, whose finest lines are the source's, too; `surplus` as
        the function of that name tells it.
        """
        height, width = patch.mask.shape
        covered = self.image[patch.y : patch.y + height, patch.x : patch.x + width].astype(np.float32)
        grain, limit = self._grain(covered, patch.mask, features)
        crisp = self._of_source(patch.pixels, features, extra_blur(surplus))
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
            finer = limited(
                np.asarray(cv2.subtract(part, covered[inside], dtype=cv2.CV_32F), np.float32), limit[inside] * FINER
            )
            pixels, mask = np.asarray(cv2.add(pixels[inside], finer), np.float32), mask[inside]
        height, width = (min(side, whole) for side, whole in zip(mask.shape, self._room(x, y), strict=True))
        return Patch(x, y, np.clip(pixels[:height, :width], 0, 255), mask[:height, :width])

    def _room(self, x: int, y: int) -> tuple[int, int]:
        """Return (height, width) of the frame from a place on."""
        return self.frame.shape[0] - y, self.frame.shape[1] - x

    def _of_source(self, pixels: Float, features: Float, blur: float) -> Float:
        """Return what is the source's: of its skin what is coarser than grain, of its features all."""
        soft = blurred(pixels, self._small(self.sigma * float(np.hypot(1, blur))))
        crisp = blurred(pixels, self._small(self.sigma * blur))
        more = cv2.multiply(cv2.subtract(crisp, soft), cv2.merge([features] * 3))
        return np.asarray(cv2.add(soft, more, dst=more), np.float32)

    def _grain(self, covered: Float, mask: Float, features: Float) -> tuple[Float, Float]:
        """Return what is the target's: of its skin what is finer, of its features no more than the grain over them.

        And how much more of them may be added to a pixel (h, w).
        """
        coarse = blurred(covered, self._small(self.sigma * TARGET_WIDER))
        found = np.asarray(cv2.subtract(covered, coarse), np.float32)
        weight = mask * (1 - features)
        size = cv2.transform(np.abs(found), MEAN)
        usual = float(size.ravel() @ weight.ravel()) / max(float(weight.sum()), 1.0)
        limit = np.asarray(usual * OVER_FEATURES / np.maximum(features, 1e-3), np.float32)
        return limited(found, limit), limit

    def _small(self, sigma: float) -> float:
        """Return the blur that is missing to `sigma`: enlarging blurs, too, by the variance of its box and triangle."""
        return float(np.sqrt(max(sigma**2 - (0 if self.factor == 1 else 0.25), 0)))


def limited(picture: Float, limit: Float) -> Float:
    """Keep a picture (h, w, 3) within plus and minus a limit (h, w)."""
    most = np.asarray(cv2.merge([limit] * 3), np.float32)
    kept = cv2.min(picture, most, dst=picture)
    return np.asarray(cv2.max(kept, -most, dst=kept), np.float32)


def fine(height: float) -> float:
    """Return the sigma, in pixels, of the blur that keeps what is the source's of a face of `height` pixels."""
    high = max(height / FINE_HEIGHT, 1.0)
    return max(FINE * height / float(np.sqrt(high)), LEAST_FINE)


def detail(skin: Float, target: Float, weight: Float, sigma: float) -> Float | None:
    """Return how much fine detail source and target have, (2,): the logarithms of the energies of a band.

    `skin` and `target` (h, w) lightness, where `weight` is high; `sigma` in pixels. None without any.
    """
    share = weight * weight
    found = [band_energy(plane, share, sigma) for plane in (skin, target)]
    return None if any(energy <= 0 for energy in found) else np.log(np.array(found, np.float32))


def band_energy(plane: Float, share: Float, sigma: float) -> float:
    """Energy between blurs of `sigma` and of twice that."""
    finer = blurred(plane, sigma)
    band = cv2.subtract(finer, blurred(finer, sigma * float(np.sqrt(3))))
    return float(share.ravel() @ cv2.multiply(band, band).ravel())


def surplus(energies: Float | None, contrast: float) -> float:
    """Return how much more detail the source has than the target, as a logarithm of energy; below 0: less.

    `energies` as `detail`, averaged; the source's lightness is going to be multiplied by `contrast`.
    """
    if energies is None:
        return 0.0
    return float(energies[0] - energies[1]) + 2 * float(np.log(max(contrast, 1e-3)))


def extra_blur(more: float) -> float:
    """Return the blur, over `sigma`, that leaves a source with a `surplus` no more detail than the target has.

    A blur of sigma b leaves exp(-(2 pi b f)^2) of the energy at a frequency f.
    """
    return min(float(np.sqrt(max(more, 0) / (4 * np.pi**2 * BAND))), MOST_BLUR)


def blurred(picture: Float, sigma: float) -> Float:
    """Blur a picture (h, w[, 3]) with a Gaussian of three sigmas on each side."""
    if sigma < 0.2:  # noqa: PLR2004  # nothing of it would be left
        return picture
    side = 2 * int(np.ceil(3 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(picture, (side, side), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


@cache
def features() -> Float:
    """0-1 in the atlas: brows, eyes, nose and mouth, by whose lines a person is recognised."""
    near = cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_EYE, RIGHT_EYE), np.ones((13, 13), np.uint8))
    near = np.maximum(near, cv2.dilate(contour_mask(ATLAS_SIDE, LEFT_BROW, RIGHT_BROW), np.ones((9, 9), np.uint8)))
    near = np.maximum(near, cv2.dilate(contour_mask(ATLAS_SIDE, OUTER_LIPS, NOSE), np.ones((9, 9), np.uint8)))
    return np.asarray(cv2.GaussianBlur(near, (0, 0), 2), np.float32)
