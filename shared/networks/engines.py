"""What can compute an upscaling network on a CPU, and which of it is used."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.networks.compact import CompactOnCpu
from shared.networks.compute import Compute, cpu_multiplies_bfloat16
from shared.networks.fastest import Engines, fastest
from shared.networks.ncnn_graph import has_ncnn
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG

WINDOW = (90, 160)  # pixels, large enough to be computed as frames are and small enough for seconds
CONTRAST, COLOUR = 0.18, 0.2  # standard deviation of the brightness, and of each colour beside it
BF16 = "torch bfloat16"
FP32 = "torch float32"
NCNN = "ncnn float32"
NCNN_BF16 = "ncnn bfloat16"


@dataclass(frozen=True)
class Engine:
    """What computes: torch in the precision of `compute`, or ncnn, with torch for what lies around its graphs."""

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
    name = fastest(candidates(network), natural_picture(*WINDOW), remembered, network=title)
    dtype = torch.bfloat16 if name in {BF16, NCNN_BF16} else torch.float32
    return Engine(Compute(compute.device, dtype), is_ncnn=name in {NCNN, NCNN_BF16})


def candidates(network: SRVGG) -> Engines:
    """Return what can compute `network` here, the reference first."""
    plain = network.float().eval()
    engines: dict[str, Callable[[], nn.Module]] = {FP32: lambda: CompactOnCpu(plain)}
    if cpu_multiplies_bfloat16():
        engines[BF16] = lambda: CompactOnCpu(plain, torch.bfloat16)
    if has_ncnn():
        engines[NCNN] = lambda: CompactOnCpu(plain, is_ncnn=True)
        engines[NCNN_BF16] = lambda: CompactOnCpu(plain, torch.bfloat16, is_ncnn=True)
    return engines


def natural_picture(height: int, width: int) -> Tensor:
    """Return (1, 3, height, width), 0-1, with the statistics of pictures: amplitudes that fall as 1/frequency.

    Field (1987), "Relations between the statistics of natural images". In half precision it differs as a film does,
    60 dB; from even blobs or noise networks make values for which 16 bits are too few.
    """
    generator = torch.Generator().manual_seed(1)
    down, across = torch.fft.fftfreq(height)[:, None] * height, torch.fft.fftfreq(width) * width
    frequency = (down.square() + across.square()).sqrt().clamp(min=1)
    planes = torch.fft.ifft2(torch.fft.fft2(torch.randn(4, height, width, generator=generator)) / frequency).real
    grey, *colours = planes / planes.std((1, 2), keepdim=True)
    return (0.5 + CONTRAST * torch.stack([grey + COLOUR * colour for colour in colours])).clamp(0, 1)[None]
