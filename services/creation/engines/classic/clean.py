"""Cleaning up: noise out, tones stretched to the full range, a light grade and a little crispness."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from services.creation.effects.grade import Grade
from services.creation.effects.stabilise import Image, steady

BLACK, WHITE = 1.0, 98.0  # the L that the darkest and the brightest 0.5 % should reach
STRETCH_LIMIT = 1.25  # dull pictures gain contrast, foggy ones stay foggy
ADAPTATION = 0.08  # of the way to the new frame's tones, every frame: no pumping
CURVE = 0.12  # strength of the S-curve
NOISE_COLOUR, NOISE_SPACE = 0.035, 2.0  # sigmas of the spatial filter: 0-1 and pixels
SHARPNESS, SHARPNESS_LIMIT = 0.6, 5.0  # unsharp mask and its bound in L
SATURATION = 1.10


def clean_up(frames: Iterable[Image], seed: int) -> Iterator[Image]:
    """Yield the frames (H, W, 3) denoised, stretched, graded and sharpened."""
    grade = Grade.of(seed, saturation=SATURATION)
    low, high = None, None
    for picture in steady(frames):
        lab = cv2.cvtColor(cv2.bilateralFilter(picture, 5, NOISE_COLOUR, NOISE_SPACE), cv2.COLOR_RGB2LAB)
        light = np.ascontiguousarray(lab[..., 0])
        darkest, brightest = np.percentile(light[::4, ::4], (0.5, 99.5))
        low = darkest if low is None else low + ADAPTATION * (darkest - low)
        high = brightest if high is None else high + ADAPTATION * (brightest - high)
        gain = min((WHITE - BLACK) / max(high - low, 1.0), STRETCH_LIMIT)
        middle = (low + high) / 2
        target = min(max(middle, BLACK + gain * (middle - low)), WHITE - gain * (high - middle))
        share = np.clip((target + gain * (light - middle)) / 100, 0, 1)
        share += CURVE * share * (1 - share) * (2 * share - 1)
        light = (100 * share).astype(np.float32)
        detail = light - cv2.GaussianBlur(light, (0, 0), 1.2)
        lab[..., 0] = np.clip(light + np.clip(SHARPNESS * detail, -SHARPNESS_LIMIT, SHARPNESS_LIMIT), 0, 100)
        yield grade.finish(np.asarray(lab, np.float32))
