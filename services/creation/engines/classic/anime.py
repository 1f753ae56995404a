"""Anime: flat washes of colour with cel shading, under ink lines that follow the contours.

The washes are an iterated bilateral filter brought back to full size by a guided filter (He, Sun and Tang, 2010; fast
form 2015); the lines a difference of Gaussians smoothed along the edge tangent, after the coherent line drawing of
Kang, Lee and Chui (2007); the shading a soft quantisation of luminance (Winnemoeller, Olsen and Gooch, 2006).
"""

import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from services.creation.effects.grade import Grade
from services.creation.effects.line_art import ink
from services.creation.effects.stabilise import Plane, temporal_denoise
from services.creation.memory import Memory
from shared.arrays import Image

CLEANING = 5, 26, 2.5  # of a bilateral filter at half size: diameter, levels of 255, pixels
WASHES = 3  # iterations of the one that flattens
WASHING = 7, 20, 3.0  # of that: the same in pixels of a copy
WASH_AREA = 341 * 192  # pixels of that copy, which has half the sides at most
GUIDE_EPSILON = 0.002  # squared contrast, 0-1, below which the guide's texture is smoothed away
TONES, TONE_EDGE = 6, 3.8  # levels of luminance, and how hard the edges between them are
EDGE, EDGE_LIMIT = 0.8, 8.0  # unsharp mask between the washes and its bound in L
LIFT = 0.10  # how much the darker middle tones are lightened
INK = 0.8  # how much a full line darkens, 0-1
ADAPTATION = 0.1  # weight of a new frame in the running tones: brightness does not pump
GAIN_LIMIT = 1.4  # of contrast: a frame of one colour keeps it
SATURATION = 1.15


def draw_anime(frames: Iterable[Image], seed: int, memory: Memory) -> Iterator[Image]:
    """Yield the frames (H, W, 3) redrawn; what does not move is drawn the same in every frame."""
    grade = Grade.of(seed, saturation=SATURATION)
    # L of the 5th and 95th percentile: of the source, and as drawn
    tones: NDArray[np.float64] | None = memory.array("tones")
    for picture in temporal_denoise(frames, memory):
        lab = cv2.cvtColor(_wash(picture), cv2.COLOR_RGB2LAB)
        light = np.ascontiguousarray(lab[..., 0])
        drawn = _shade(light) * (1 - INK * ink(picture))
        source = cv2.cvtColor(np.ascontiguousarray(picture[::4, ::4]), cv2.COLOR_RGB2LAB)[..., 0]
        now = np.array([np.percentile(plane, (5, 95)) for plane in (source, drawn[::4, ::4])])
        tones = now if tones is None else tones + ADAPTATION * (now - tones)
        memory.keep("tones", tones)
        lab[..., 0] = _match_tones(drawn, tones)
        yield grade.apply(np.asarray(lab, np.float32))


def _wash(picture: Plane) -> Plane:
    """Flatten texture into washes of colour; contours stay as sharp as in the picture."""
    height, width = picture.shape[:2]
    guide = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    clean = cv2.bilateralFilter(cv2.convertScaleAbs(guide, alpha=255), *CLEANING)
    scale = min(0.5, math.sqrt(WASH_AREA / (width * height)))
    flat = cv2.resize(clean, (round(scale * width), round(scale * height)), interpolation=cv2.INTER_AREA)
    for _ in range(WASHES):
        flat = cv2.bilateralFilter(flat, *WASHING)
    target = cv2.resize(flat, guide.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32) * np.float32(
        1 / 255
    )

    mean_guide, mean_target = _mean(guide), _mean(target)
    covariance = _mean(guide * target) - mean_guide * mean_target
    slope = covariance / (_mean(guide * guide) - mean_guide * mean_guide + np.float32(GUIDE_EPSILON))
    offset = mean_target - slope * mean_guide
    washed = cv2.multiply(cv2.resize(_mean(slope), (width, height)), picture)
    washed = cv2.add(washed, cv2.resize(_mean(offset), (width, height)))
    return np.asarray(np.clip(washed, 0, 1), np.float32)


def _shade(light: Plane) -> Plane:
    """Quantise L (0-100) softly to a few tones, sharpen the borders between them, lighten the darker middle tones."""
    step = 100 / TONES
    border = np.rint(light / step)
    tones = (border + np.tanh(TONE_EDGE * (light / step - border)) / (2 * math.tanh(TONE_EDGE / 2))) * step
    tones = tones.astype(np.float32)
    tones += np.clip(EDGE * (tones - cv2.GaussianBlur(tones, (0, 0), 2.0)), -EDGE_LIMIT, EDGE_LIMIT)
    tones = np.clip(tones / 100, 0, 1)
    return np.asarray(100 * (tones + LIFT * 4 * tones * (1 - tones) ** 2), np.float32)


def _match_tones(drawn: Plane, tones: NDArray[np.float64]) -> Plane:
    """Stretch the drawing to the darkest and brightest tones of its source."""
    (low, high), (drawn_low, drawn_high) = tones
    gain = min(max((high - low) / max(drawn_high - drawn_low, 1.0), 1 / GAIN_LIMIT), GAIN_LIMIT)
    return np.asarray(np.clip((low + high) / 2 + gain * (drawn - (drawn_low + drawn_high) / 2), 0, 100), np.float32)


def _mean(plane: Plane) -> Plane:
    return np.asarray(cv2.blur(plane, (5, 5)), np.float32)
