"""Pictures between a host and a device, in pinned memory: then the copy needs no second one and no waiting CPU."""

import numpy as np
import torch
from torch import Tensor

from shared.arrays import Picture


def to_device(picture: Picture, device: torch.device) -> Tensor:
    """Return the picture on the device, in its own shape and dtype; on a CPU it shares the picture's memory."""
    values = torch.from_numpy(np.ascontiguousarray(picture))
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def to_host(values: Tensor) -> Tensor:
    """Return values in the host's memory once they are there; those of a CPU as they are."""
    if values.device.type != "cuda":
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    torch.cuda.current_stream(values.device).synchronize()
    return host
