"""Control frames: what the model shall keep of a source frame, drawn in the form that it was trained on."""

import cv2
import numpy as np

from services.creation.effects.line_art import ink
from services.creation.request import ANIME
from shared.arrays import Image


def control_frame_for(style: int, frame: Image) -> Image:
    """Return the control frame (H, W, 3): the source's lines for the anime style, its luminance for the others."""
    return scribble(frame) if style == ANIME else grey(frame)


def grey(frame: Image) -> Image:
    """Keep the luminance, leave the colours to the model."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def scribble(frame: Image) -> Image:
    """Keep the contours as black lines on white: VACE takes white lines on black for an ordinary picture."""
    paper = cv2.convertScaleAbs(1 - ink(frame.astype(np.float32) / 255), alpha=255)
    return np.asarray(cv2.cvtColor(paper, cv2.COLOR_GRAY2RGB), np.uint8)
