"""What can compute RIFE on a CPU, and which of it is used.

ncnn takes the blocks' bodies, eight convolutions of one size each and half of the network's time. All between them,
the sampling along the flow above all, stays torch's.
"""

import copy
from collections.abc import Callable, MutableMapping

import torch
from torch import Tensor, nn

from shared.networks.compute import Compute, cpu_multiplies_bfloat16
from shared.networks.engines import BF16, FP32, NCNN, Engine, natural_picture
from shared.networks.fastest import Engines, fastest
from shared.networks.ncnn_graph import NcnnChain, has_ncnn
from shared.networks.rife import Rife
from shared.networks.rife_blocks import FlowBlock

WINDOW = (192, 320)  # pixels: sides that every generation takes
MOTION = 4  # pixels, from one frame of the trial to the other


def choose_rife_engine(
    network: Rife, title: str, compute: Compute, remembered: MutableMapping[str, str], *, refine: bool
) -> Engine:
    """Return the fastest engine for `network`, which is in fp32 and stays so; a GPU has only torch."""
    if compute.device.type != "cpu":
        return Engine(compute)
    name = fastest(
        candidates(network, refine=refine),
        trial_frames(),
        remembered,
        network=f"RIFE {title}{' refined' if refine and network.layout.refines else ''}",
    )
    dtype = torch.bfloat16 if name == BF16 else torch.float32
    return Engine(Compute(compute.device, dtype), is_ncnn=name == NCNN)


def candidates(network: Rife, *, refine: bool) -> Engines:
    """Return what can compute `network` here, the reference first: `trial_frames` to the frame in their middle."""
    refine = refine and network.layout.refines
    plain = network.float().eval()
    engines: dict[str, Callable[[], nn.Module]] = {FP32: lambda: _Trial(plain, refine=refine)}
    if cpu_multiplies_bfloat16():
        engines[BF16] = lambda: _Trial(plain, torch.bfloat16, refine=refine)
    if has_ncnn():
        engines[NCNN] = lambda: _Trial(plain, refine=refine, is_ncnn=True)
    return engines


def trial_frames(height: int = WINDOW[0], width: int = WINDOW[1]) -> Tensor:
    """Return two frames, (2, 3, height, width) 0-1, of a natural picture that moves to the left."""
    picture = natural_picture(height, width + MOTION)
    return torch.cat([picture[..., :width], picture[..., MOTION:]])


def use_ncnn(network: Rife) -> None:
    """Have ncnn compute the bodies of the blocks from now on; the network is on the CPU, in fp32."""
    for block in network.children():
        if isinstance(block, FlowBlock):
            block.convblock = NcnnChain(block.plain_body())


class _Trial(nn.Module):
    """Both frames, (2, 3, H, W), to the one in the middle, (1, 3, H, W)."""

    def __init__(
        self, network: Rife, dtype: torch.dtype = torch.float32, *, refine: bool, is_ncnn: bool = False
    ) -> None:
        super().__init__()
        self.network: Rife = copy.deepcopy(network).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack memory_format
        if is_ncnn:
            use_ncnn(self.network)
        self._refine = refine

    def forward(self, frames: Tensor) -> Tensor:
        first, second = (self.network.features(frame[None], refine=self._refine) for frame in frames)
        middle: Tensor = self.network(first, second, torch.tensor([0.5]), refine=self._refine, steady=True)
        return middle
