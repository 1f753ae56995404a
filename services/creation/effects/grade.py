"""The colour grade at the end of a style, chosen by the seed within what still looks natural."""

from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.arrays import Image

Lab = NDArray[Any]  # float32 (H, W, 3): L 0-100, a and b about -100 to 100


@dataclass(frozen=True)
class Grade:
    """A colour balance in Lab: `saturation` multiplies a and b; `warmth` shifts b, `tint` a of the middle tones."""

    saturation: float
    warmth: float
    tint: float

    @classmethod
    def of(cls, seed: int, *, saturation: float) -> Self:
        """Draw a grade near `saturation` and neutral white; the same seed gives the same one."""
        random = np.random.default_rng(seed % 2**64)
        return cls(saturation * random.uniform(0.96, 1.04), random.uniform(-1.5, 2.0), random.uniform(-0.8, 0.8))

    def apply(self, lab: Lab) -> Image:
        """Apply to `lab`, which is overwritten, and return the picture (H, W, 3) RGB."""
        light = lab[..., 0] * np.float32(0.01)
        middle = 4 * light * (1 - light)  # black and white stay neutral
        lab[..., 1] = lab[..., 1] * np.float32(self.saturation) + np.float32(self.tint) * middle
        lab[..., 2] = lab[..., 2] * np.float32(self.saturation) + np.float32(self.warmth) * middle
        rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
        return np.asarray(cv2.convertScaleAbs(np.clip(rgb, 0, 1), alpha=255), np.uint8)
