"""Whether the fused convolution can be compiled here: it needs Triton, which torch for CUDA brings, and a compiler."""

import logging
import shutil
from importlib.util import find_spec

import torch

logger = logging.getLogger("bentoml.kinora.gpu")

COMPILERS = ("cc", "gcc", "clang")  # Triton builds its launcher with one of them, once a machine
OLDEST = (8, 0)  # compute capability: the kernel's tiles are made for Ampere's asynchronous copies and later ones


def can_fuse(device: torch.device) -> bool:
    """Whether `device` is a GPU for which the kernel of `kernel.py` can be compiled."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < OLDEST or find_spec("triton") is None:
        return False
    if any(shutil.which(compiler) for compiler in COMPILERS):
        return True
    logger.warning("no C compiler here: networks take up to four times as long on this GPU; install gcc")
    return False
