"""The exact area average by which a x4 picture becomes one of x1, x2 or x3."""

import torch
from torch import Tensor


def area_average(size: int, smaller: int) -> Tensor:
    """Return the (smaller, size) matrix that averages `size` samples over `smaller` equal areas; its rows sum to 1."""
    edges = torch.arange(smaller + 1, dtype=torch.float64) * size / smaller
    begins = torch.arange(size, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], begins + 1) - torch.maximum(edges[:-1, None], begins)
    return (covered.clamp(min=0) * smaller / size).float()


def shrink(picture: Tensor, size: int, smaller: int) -> Tensor:
    """Average every `size` x `size` block of (N, C, H, W) to `smaller` x `smaller`; H and W are multiples of `size`."""
    average = area_average(size, smaller).to(picture)
    count, channels, height, width = picture.shape
    blocks = picture.reshape(count, channels, height // size, size, width // size, size)
    small = torch.einsum("ncyixj,ai,bj->ncyaxb", blocks, average, average)
    return small.reshape(count, channels, height // size * smaller, width // size * smaller)
