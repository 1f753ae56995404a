"""What a clip will look like, while it is being denoised: the middle of what the model predicts, small."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from services.creation.engines.wan.images import to_images
from services.creation.engines.wan.tiny_decoder import TinyDecoder
from shared.arrays import Image

AREA = 40 * 24  # of a latent, at most: a picture of about 320x192, for a fiftieth of a draft's step
MOST = 12  # pictures of one run


def is_due(index: int, steps: int) -> bool:
    """Whether the step, counted from 0, is one to be shown: every one, or of many every second, third …"""
    return (index + 1) % math.ceil(steps / MOST) == 0


def predicted(scheduler: Any) -> Tensor | None:
    """Return the latents (1, 16, T, h, w) that the last step has predicted to be the clip's, without any noise."""
    own = getattr(scheduler, "predicted", None)  # DMDScheduler
    outputs = getattr(scheduler, "model_outputs", None)  # UniPC keeps what its last steps predicted, the newest last
    found: Tensor | None = own if own is not None else outputs[-1] if outputs else None
    return found


@torch.inference_mode()
def picture_of(decoder: TinyDecoder, latents: Tensor) -> Image:
    """Return the middle frame of a clip's latents (1, 16, T, h, w), (height, width, 3)."""
    middle = latents.shape[2] // 2
    nearby = latents[0, :, max(0, middle - 1) : middle + 1].transpose(0, 1).float()  # one before, to remember
    height, width = nearby.shape[2:]
    shrink = min(1.0, math.sqrt(AREA / (height * width)))
    small = interpolate(nearby, size=(max(1, int(height * shrink)), max(1, int(width * shrink))), mode="area")
    *_, last = decoder.frames(small.transpose(0, 1)[None])
    return to_images(last[-1:])[0]
