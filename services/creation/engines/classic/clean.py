"""Cleaning up: noise reduction, tones stretched to the full range, a light grade, a little sharpening."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from services.creation.effects.grade import Grade
from services.creation.effects.stabilise import temporal_denoise
from services.creation.memory import Memory
from shared.arrays import Image

BLACK, WHITE = 1.0, 98.0  # the L that the darkest and the brightest 0.5 % should reach
STRETCH_LIMIT = 1.25  # of contrast: dull pictures gain some, fog stays fog
ADAPTATION = 0.08  # weight of a new frame in the running tones: brightness does not pump
CURVE = 0.12  # strength of the S-curve
NOISE_COLOUR, NOISE_SPACE = 0.035, 2.0  # sigmas of the spatial filter: 0-1 and pixels
SHARPNESS, SHARPNESS_LIMIT = 0.6, 5.0  # unsharp mask and its bound in L
SATURATION = 1.10


def clean_up(frames: Iterable[Image], seed: int, memory: Memory) -> Iterator[Image]:
    """Yield the frames (H, W, 3) denoised, stretched, graded and sharpened."""
    grade = Grade.of(seed, saturation=SATURATION)
    for picture in temporal_denoise(frames, memory):
        lab = cv2.cvtColor(cv2.bilateralFilter(picture, 5, NOISE_COLOUR, NOISE_SPACE), cv2.COLOR_RGB2LAB)
        light = np.ascontiguousarray(lab[..., 0])
        now = np.asarray(np.percentile(light[::4, ::4], (0.5, 99.5)))
        tones = memory.array("tones")
        tones = now if tones is None else tones + ADAPTATION * (now - tones)
        memory.keep("tones", tones)
        low, high = tones
        gain = min((WHITE - BLACK) / max(high - low, 1.0), STRETCH_LIMIT)
        middle = (low + high) / 2
        target = min(max(middle, BLACK + gain * (middle - low)), WHITE - gain * (high - middle))
        tones = np.clip((target + gain * (light - middle)) / 100, 0, 1)
        tones += CURVE * tones * (1 - tones) * (2 * tones - 1)
        light = (100 * tones).astype(np.float32)
        detail = light - cv2.GaussianBlur(light, (0, 0), 1.2)
        lab[..., 0] = np.clip(light + np.clip(SHARPNESS * detail, -SHARPNESS_LIMIT, SHARPNESS_LIMIT), 0, 100)
        yield grade.apply(np.asarray(lab, np.float32))
