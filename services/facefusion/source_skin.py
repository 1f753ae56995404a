"""A source's skin as a target shows it: from which side, and how much of it there is.

A target that is turned shows one side of the face in full, and a source that is a little turned shows one of its sides
at a slant. Where the two are the same side, the source's other one is taken as in a mirror, little by little while the
target turns. A target that looks into the camera gets the source as it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from services.facefusion.face import Float
from services.facefusion.mask import smooth_step
from services.facefusion.mesh import Region, from_atlas
from services.facefusion.mirrored_half import TURNED, turn

SLIGHTLY = 5.0  # degrees to one side from which on a source has a better and a poorer side
FULLY_TURNED = 35.0  # degrees from which on a target is treated as one that is turned altogether
FULL_DETAIL, NO_DETAIL = 0.45, 0.15  # source pixels per target pixel over the usual: all of the source, none
FULL_IF_TURNED, NONE_IF_TURNED = 0.36, 0.11  # the same for a target that is turned


@dataclass(frozen=True)
class Skin:
    """A face in the atlas, in several sizes: each half of the one before, for smaller targets."""

    levels: tuple[Float, ...]  # Lab (side, side, 3) float32, largest first
    usable: Float  # (128, 128) 0-1: where the source shows skin, not hair or a hand
    detail: Float  # (T,) source pixels for each unit of the atlas, by area
    frown: Float  # (128, 128): `expression.upright` of its folds

    def level(self, region: Region) -> Float:
        """Choose the atlas whose pixels are not much finer than the frame's."""
        frame_scale = float(np.sqrt(region.covered.sum() / 0.6))  # about the side of an atlas with pixels of that size
        return next((level for level in reversed(self.levels) if level.shape[0] >= frame_scale), self.levels[0])


@dataclass(frozen=True)
class Seen:
    """A source's skin in the region of one frame."""

    pixels: Float  # (h, w, 3) Lab
    usable: Float  # (128, 128) 0-1, in the atlas, as of `Skin`
    enough: Float  # (h, w) 0-1: 1 where the source has enough pixels for what the target shows


@dataclass(frozen=True)
class SourceSkin:
    """A source's skin, and the same with its better side on both: None where neither side is better."""

    own: Skin
    completed: Skin | None
    turned: float  # degrees of the source's face, as of `turn`

    def seen(self, region: Region, landmarks: Float) -> Seen:
        """Sample the skin for a region of a frame with (468, 3) landmarks."""
        degrees = turn(landmarks)
        ease = float(smooth_step(np.array([(abs(degrees) - TURNED) / (FULLY_TURNED - TURNED)], np.float32))[0])
        own, other = self.own, self.completed
        pixels = from_atlas(own.level(region), region)
        if other is None or not ease or degrees * self.turned >= 0:
            return Seen(pixels, own.usable, enough(own.detail, region, ease))
        return Seen(
            mixed(pixels, from_atlas(other.level(region), region), ease),
            mixed(own.usable, other.usable, ease),
            enough(mixed(own.detail, other.detail, ease), region, ease),
        )


def mixed(one: Float, other: Float, share: float) -> Float:
    """Take a share 0-1 of the other."""
    return np.asarray(one + (other - one) * np.float32(share), np.float32)


def enough(detail: Float, region: Region, ease: float) -> Float:
    """0-1 for each pixel: 1 where a source of this detail has enough pixels for what the target shows there."""
    density = detail * region.detail  # source pixels per target pixel, by area
    usual = float(np.percentile(density[density > 0], 75)) if (density > 0).any() else 1.0
    full, none = FULL_DETAIL + ease * (FULL_IF_TURNED - FULL_DETAIL), NO_DETAIL + ease * (NONE_IF_TURNED - NO_DETAIL)
    share = np.clip((density / usual - none) / (full - none), 0, 1)
    per_pixel = share.astype(np.float32)[np.maximum(region.triangle, 0)]
    coarse = cv2.GaussianBlur(per_pixel[::4, ::4], (0, 0), max(region.size[1] * 0.0075, 0.5))
    return np.asarray(cv2.resize(coarse, region.size, interpolation=cv2.INTER_LINEAR), np.float32)
