"""From a decoder's output to pictures."""

import torch
from torch import Tensor

from shared.arrays import Image


def to_images(frames: Tensor) -> list[Image]:
    """Round frames (N, 3, height, width) 0-1 on their device, so that one byte a value is copied and not four."""
    rounded = frames.float().mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return list(rounded.cpu().numpy())
