"""Control videos: what of a source the model shall keep, drawn as the model was taught to read it."""

import cv2
import numpy as np

from services.creation.effects.line_art import ink
from services.creation.engine import Image
from services.creation.request import ANIME


def control_for(style: int, frame: Image) -> Image:
    """Return what leads a frame (H, W, 3): its lines where the style redraws it, its light and shade elsewhere."""
    return scribble(frame) if style == ANIME else grey(frame)


def grey(frame: Image) -> Image:
    """Keep light and shade, leave the colours to the model."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def scribble(frame: Image) -> Image:
    """Keep the contours as black lines on white paper: VACE reads white lines on black as a picture."""
    paper = cv2.convertScaleAbs(1 - ink(frame.astype(np.float32) / 255), alpha=255)
    return np.asarray(cv2.cvtColor(paper, cv2.COLOR_GRAY2RGB), np.uint8)
