"""A rough age and the sex of a face: the age-v1 and gender-v1 networks (CC0)."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from services.facefusion import network
from services.facefusion.face import Float, umeyama_transform
from services.facefusion.literals import Age, Gender
from shared.arrays import Image

AGES: Float = np.array([0.25, *range(1, 81)], np.float32)  # years that the age network's 81 classes stand for
AGE_LIMITS: tuple[tuple[int, Age], ...] = ((13, "child"), (19, "teen"), (60, "adult"))  # below, in years
CHIP_SIDE = 128  # pixels of the aligned face, reduced for each network
# Where the eyes lie in the chip that both networks were trained on: dlib's, with a fifth of padding. 0-1.
EYES: Float = np.array([[0.3052, 0.3010], [0.6806, 0.3009]], np.float32)
MEAN: Float = np.array([122.782, 117.001, 104.298], np.float32)  # RGB, 0-255


@dataclass(frozen=True)
class Attributes:
    """What the networks estimate; `years` is an expectation over their classes, good to about five years."""

    years: float
    gender: Gender

    @property
    def age(self) -> Age:
        """The contract's word for `years`."""
        return next((word for limit, word in AGE_LIMITS if self.years < limit), "senior")


class AttributeReader:
    """`reader(image, landmarks5) -> Attributes` for one face of an RGB frame."""

    def __init__(self, age: Path, gender: Path) -> None:
        self._age = network.session(network.read(age))
        self._gender = network.session(network.read(gender))

    def __call__(self, image: Image, landmarks5: Float) -> Attributes:
        """Read one face, aligned by its eyes: 64 pixels for the age, 32 for the sex."""
        matrix = umeyama_transform(landmarks5[:2], EYES * CHIP_SIDE)
        chip = np.asarray(cv2.warpAffine(image, matrix, (CHIP_SIDE, CHIP_SIDE), flags=cv2.INTER_LINEAR), np.uint8)
        (ages,) = self._age.run(None, {"images": blob(chip, 64)})
        (sexes,) = self._gender.run(None, {"images": blob(chip, 32)})
        return Attributes(float(ages[0] @ AGES), "female" if sexes[0, 0] > sexes[0, 1] else "male")


def blob(chip: Image, side: int) -> Float:
    """Scale a chip to [1, 3, side, side] in the networks' range."""
    small = cv2.resize(chip, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(((small - MEAN) / 256).transpose(2, 0, 1)[None], np.float32)
