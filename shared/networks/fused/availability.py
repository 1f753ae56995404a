"""Whether the fused convolution can be compiled here: it needs Triton, which torch for CUDA brings, and a compiler."""

import shutil
from importlib.util import find_spec

import torch

COMPILERS = ("cc", "gcc", "clang")  # Triton builds its launcher with one of them, once a machine
OLDEST = (8, 0)  # compute capability: the kernel's tiles are made for Ampere's asynchronous copies and later ones


def can_fuse(device: torch.device) -> bool:
    """Whether `device` is a GPU for which the kernel of `kernel.py` can be compiled."""
    return (
        device.type == "cuda"
        and torch.cuda.get_device_capability(device) >= OLDEST
        and find_spec("triton") is not None
        and any(shutil.which(compiler) for compiler in COMPILERS)
    )
