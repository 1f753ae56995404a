"""What can compute an upscaling network on a CPU, and which of it is used."""

import copy
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate

from shared.networks.compute import Compute, cpu_multiplies_bfloat16
from shared.networks.fastest import fastest
from shared.networks.ncnn_network import NcnnNetwork, has_ncnn
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG

WINDOW = (90, 160)  # pixels, large enough to be computed as frames are and small enough for seconds
BF16 = "torch bfloat16"
FP32 = "torch float32"
NCNN = "ncnn float32"


@dataclass(frozen=True)
class Engine:
    """What computes: torch in the precision of `compute`, or ncnn, where torch only cuts and joins the windows."""

    compute: Compute
    is_ncnn: bool = False

    @property
    def name(self) -> str:
        """Return a name such as "cpu bfloat16" or "cpu float32, ncnn", for logs and task details."""
        return f"{self.compute.name}, ncnn" if self.is_ncnn else self.compute.name


def choose_engine(network: SRVGG | RRDB, title: str, compute: Compute, remembered: MutableMapping[str, str]) -> Engine:
    """Return the fastest engine for `network`, which is in fp32 and stays so; a GPU has only torch.

    ncnn takes the compact networks. The deep ones are not tried: their windows take seconds each, and bf16 is the
    faster wherever a CPU has it.
    """
    if compute.device.type != "cpu" or not isinstance(network, SRVGG):
        return Engine(compute)
    plain = network.float().eval()
    engines: dict[str, Callable[[], nn.Module]] = {
        FP32: lambda: copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs
    }
    if cpu_multiplies_bfloat16():
        engines[BF16] = lambda: _reduced(plain)
    if has_ncnn():
        engines[NCNN] = lambda: NcnnNetwork(plain)
    # Soft, as pictures are: noise would be enlarged to values that no precision keeps.
    few = torch.rand(1, 3, 9, 16, generator=torch.Generator().manual_seed(1))
    window = interpolate(few, size=WINDOW, mode="bicubic").clamp(0, 1)
    name = fastest(engines, window, remembered, network=title)
    dtype = torch.bfloat16 if name == BF16 else torch.float32
    return Engine(Compute(compute.device, dtype), is_ncnn=name == NCNN)


def _reduced(network: SRVGG) -> nn.Module:
    return copy.deepcopy(network).in_precision(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
