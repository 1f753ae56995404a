"""How sharp the lines of a face are, and what gives a source's lines the sharpness of the target's.

A person's brows may be paler than another's and no less sharp for it; so sharpness is told by the ratio of two
neighbouring bands of frequencies at the face's features, and not by the energy of one.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from services.facefusion.face import Float

LEAST_AREA = 16  # pixels of lines, and of skin, for sharpness to be measured
RATIOS = (1.8, 2.3, 3.2, 3.9, 4.35, 4.9, 5.15)  # the logarithm of the energy of the wide band over that of the fine
SOFTNESS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # sigmas of a blur of the lines that have them
MOST_GAIN = 2.5  # of the source's finest lines: more would show the marks of its compression
MOST_BLUR = 4.0  # over the sigma: a source is blurred no further


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
