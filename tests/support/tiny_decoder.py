"""Random weights of the tiny decoder, in the layout that is published: those of the encoder stand in the same file."""

import torch
from torch import Tensor

from services.creation.engines.wan.tiny_decoder import TinyDecoder

WIDTH = 64  # of the encoder


def published_state() -> dict[str, Tensor]:
    """Return every tensor of the published file by its name, the same random values each time."""
    torch.manual_seed(11)
    return {**_encoder(), **TinyDecoder().state_dict()}


def _encoder() -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {"0.weight": (WIDTH, 3, 3, 3), "0.bias": (WIDTH,)}
    for pooled, first in ((2, 2), (2, 7), (1, 12)):
        shapes |= {f"{first}.conv.weight": (WIDTH, pooled * WIDTH, 1, 1), f"{first + 1}.weight": (WIDTH, WIDTH, 3, 3)}
        for block in range(first + 2, first + 5):
            shapes |= _block(block)
    shapes |= {"17.weight": (16, WIDTH, 3, 3), "17.bias": (16,)}
    return {f"encoder.{name}": 0.02 * torch.randn(shape) for name, shape in shapes.items()}


def _block(index: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, width in ((0, 2 * WIDTH), (2, WIDTH), (4, WIDTH)):
        shapes |= {f"{index}.conv.{layer}.weight": (WIDTH, width, 3, 3), f"{index}.conv.{layer}.bias": (WIDTH,)}
    return shapes
