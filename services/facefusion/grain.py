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
from services.facefusion.swapper import Patch, View
from shared.arrays import Image

FINE = 0.003  # of the face's height: the sigma of the blur that keeps what is the source's; 1.2 pixels of 400
FINE_HEIGHT = (
    400  # pixels: of a higher face it grows by the root of the height only, so that more detail is the source's
)
LEAST_FINE = 0.4  # pixels
TARGET_WIDER = 1.85  # width of the target's blur over that of the source's
PIXELS_A_SIGMA = 2.4  # how many frame pixels a painted pixel may cover, for each pixel of the sigma
OVER_FEATURES = 2.0  # over the mean size of the grain: what is larger is a line of the target's face
OVER_HAIRS = 5.0  # the same, for what is lighter between and beside the hairs of brows and lashes
FINER = 2.5  # how much larger grain is in the frame than in a picture that is several times smaller
LEAST_AREA = 16  # pixels of lines, and of skin, for sharpness to be measured
RATIOS = (1.8, 2.3, 3.2, 3.9, 4.35, 4.9, 5.15)  # the logarithm of the energy of the wide band over that of the fine
SOFTNESS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # sigmas of a blur of the lines that have them
MOST_GAIN = 2.5  # of the source's finest lines: more would show the marks of its compression
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

    def enlarged(self, patch: Patch, features: Float, sharp: "Sharpness") -> Patch:
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

    def _of_source(self, pixels: Float, features: Float, sharp: "Sharpness") -> Float:
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


def detail(skin: Float, target: Float, shown: Float, features: Float, sigma: float) -> Float | None:
    """Return the energies of the lines of source and target, (2, 2): for each picture those of a fine and a wide band.

    `skin` and `target` (h, w) lightness, where `shown` is high; `features` (h, w) 0-1; `sigma` in pixels. The energies
    are logarithms of mean squares. None where nothing is seen.
    """
    at_lines = np.asarray(cv2.multiply(shown, features), np.float32)
    beside = np.asarray(cv2.subtract(shown, at_lines), np.float32)
    areas = float(at_lines.sum()), float(beside.sum())
    if min(areas) < LEAST_AREA:
        return None
    shares = at_lines / np.float32(areas[0]), beside / np.float32(areas[1])
    found = np.array([line_energies(plane, *shares, sigma) for plane in (skin, target)], np.float32)
    return None if found.min() <= 0 else np.log(found)


def line_energies(plane: Float, at_lines: Float, beside: Float, sigma: float) -> list[float]:
    """Energy of what is finer than a blur of `sigma`, and of what is from there to one of four times that.

    Grain lies everywhere: what the plain skin has is taken off, up to nine tenths.
    """
    finer = blurred(plane, sigma)
    side = 2 * round((np.sqrt(12 * 15 * sigma**2 + 1) - 1) / 2) + 1  # of a box with the variance that is missing
    wider = cv2.blur(finer, (side, side), borderType=cv2.BORDER_REPLICATE)
    found = []
    for band in (cv2.subtract(plane, finer), cv2.subtract(finer, wider)):
        squares = cv2.multiply(band, band).ravel()
        whole = float(at_lines.ravel() @ squares)
        found.append(max(whole - float(beside.ravel() @ squares), 0.1 * whole))
    return found


@dataclass(frozen=True)
class Sharpness:
    """What gives the source's lines the sharpness of the target's."""

    blur: float = 0.0  # sigma, over that of the blur that keeps what is the source's: at least 0
    gain: float = 1.0  # of what is finer than `width`: at least 1
    width: float = 0.0  # over the same sigma: the blur that the source has and the target has not


def sharpness(energies: Float | None, contrast: float) -> Sharpness:
    """Return how a source is to be blurred or sharpened; as it is where nothing was measured.

    `energies` as `detail`, averaged; the source's lightness is going to be multiplied by `contrast`. Blur is told by
    the ratio of the two bands: one person's brows are darker than another's, and no less sharp for it.
    """
    if energies is None:
        return Sharpness()
    ratios = energies[:, 0] - energies[:, 1]
    source, target = softness(float(ratios[0])), softness(float(ratios[1]))
    weaker = float(energies[1, 0] - energies[0, 0]) - 2 * float(np.log(max(contrast, 1e-3)))
    more = min(float(ratios[1] - ratios[0]), weaker)
    away = target**2 - source**2
    blur, width = (min(float(np.sqrt(max(square, 0))), MOST_BLUR) for square in (away, -away))
    return Sharpness(blur, float(np.clip(np.exp(more / 2), 1, MOST_GAIN)), width)


def softness(ratio: float) -> float:
    """Return the blur of a picture's lines, over `sigma`, from the logarithm of the ratio of the two bands.

    Edges have an energy of f^-3 at a frequency f, and a blur of sigma b leaves exp(-(2 pi b f)^2) of it. So the ratio
    is known for each b; photographs that were blurred by b are read to two fifths.
    """
    return float(np.interp(-ratio, RATIOS, SOFTNESS))


def blurred(picture: Float, sigma: float) -> Float:
    """Blur a picture (h, w[, 3]) with a Gaussian of three sigmas on each side."""
    if sigma < 0.2:  # noqa: PLR2004  # nothing of it would be left
        return picture
    side = 2 * int(np.ceil(3 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(picture, (side, side), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


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
