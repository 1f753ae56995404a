"""How RIFE's networks are built: the layouts of its generations, and the blocks of convolutions that they consist of.

Source as in `rife.py`, which says how the blocks work together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from shared.networks.prelu import PReLU
from shared.networks.rife_refinement import prelu_conv

FLOW = 4  # channels: x and y to the first frame, x and y to the second, in pixels of the full size
MASK = 1  # channel: how much of the first frame, before the sigmoid
RGB = 3
STRIDE = 4  # a block's two first convolutions halve its input twice
BODY = 8  # convolutions of a block at its smallest size


@dataclass(frozen=True)
class Layout:
    """How one generation of weights is built."""

    name: str
    widths: tuple[int, ...]  # channels of each block, from coarse to fine
    scales: tuple[int, ...]  # each block sees the frames at 1/scale
    features: int  # learned channels beside a frame's RGB, 0 for none
    carried: int  # channels that a block passes on beside flow and mask
    residual: bool  # the body is a chain of residual convolutions, and a block's output is at its own scale
    adds_masks: bool  # a block's mask is added to the one before; else it replaces it
    looks_again: bool  # large motion repeats the first block at half the scale
    refines: bool  # a U-Net that corrects the mixed frame belongs to the weights


LAYOUTS: Mapping[str, Layout] = {
    "4.0": Layout("4.0", (192, 128, 96, 64), (8, 4, 2, 1), 0, 0, False, True, True, True),
    "4.25": Layout("4.25", (192, 128, 96, 64, 32), (16, 8, 4, 2, 1), 4, 8, True, False, False, False),
    "4.25-lite": Layout("4.25-lite", (192, 128, 96, 64, 24), (32, 16, 8, 4, 1), 4, 8, True, False, False, False),
}
SHARED_LAYOUTS = {"4.26": "4.25"}  # trained longer, built alike: only its name tells it from the other


class FlowBlock(nn.Module):
    """(T, inputs, h, w) at the block's scale to (T, 5 + carried, h/cell, w/cell): a flow in cells, a mask, the rest."""

    def __init__(self, layout: Layout, inputs: int, width: int) -> None:
        super().__init__()
        self.cell = 1 if layout.residual else 2
        answer = FLOW + MASK + layout.carried
        activation = _leaky if layout.residual else PReLU
        self.convblock: nn.Module
        self.conv0 = nn.Sequential(
            nn.Sequential(nn.Conv2d(inputs, width // 2, 3, 2, 1), activation(width // 2)),
            nn.Sequential(nn.Conv2d(width // 2, width, 3, 2, 1), activation(width)),
        )
        if layout.residual:
            self.convblock = nn.Sequential(*(ResidualConv(width) for _ in range(BODY)))
            enlarge = nn.ConvTranspose2d(width, 4 * answer, 4, 2, 1)
            self.lastconv: nn.Module = nn.Sequential(enlarge, nn.PixelShuffle(2))
        else:
            self.convblock = nn.Sequential(*(prelu_conv(width, width) for _ in range(BODY)))
            self.lastconv = nn.ConvTranspose2d(width, answer, 4, 2, 1)
        self._residual = layout.residual

    def forward(self, seen: Tensor) -> Tensor:
        """Sides that are no multiple of 4 (a search at half the usual scale) are padded here and cropped again."""
        height, width = seen.shape[-2:]
        if height % STRIDE or width % STRIDE:
            seen = pad(seen, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        small = self.conv0(seen)
        body = self.convblock(small)
        answer: Tensor = self.lastconv(body if self._residual else body.add_(small))
        return answer[..., : height // self.cell, : width // self.cell].contiguous()

    def plain_body(self) -> nn.Sequential:
        """Return the body as convolutions and PReLUs alone, one after the other; it shares what it can."""
        layers: list[nn.Module] = []
        for part in self.convblock.children():
            layers += part.plain() if isinstance(part, ResidualConv) else part.children()
        return nn.Sequential(*layers)


class ResidualConv(nn.Module):
    """A convolution whose result is weighted by channel and added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))
        self.relu = _leaky(width)

    def forward(self, values: Tensor) -> Tensor:
        added: Tensor = self.relu(torch.addcmul(values, self.conv(values), self.beta))
        return added

    def plain(self) -> tuple[nn.Conv2d, nn.PReLU]:
        """Return one convolution and its activation, which together are the same: the input is added by its middle."""
        width = self.conv.out_channels
        conv, slope = nn.Conv2d(width, width, 3, 1, 1), nn.PReLU(width, self.relu.negative_slope)
        assert self.conv.bias is not None
        share = self.beta.detach().float()
        weight = self.conv.weight.detach().float() * share.view(-1, 1, 1, 1)
        weight[:, :, 1, 1] += torch.eye(width)
        conv.load_state_dict({"weight": weight, "bias": self.conv.bias.detach().float() * share.flatten()})
        return conv, slope


class FrameEncoder(nn.Module):
    """(1, 3, H, W) to (1, features, H, W): what later generations warp together with the colours."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(RGB, 16, 3, 2, 1)
        self.cnn1 = nn.Conv2d(16, 16, 3, 1, 1)
        self.cnn2 = nn.Conv2d(16, 16, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(16, features, 4, 2, 1)
        self.relu = _leaky(16)

    def forward(self, frame: Tensor) -> Tensor:
        values = frame
        for conv in (self.cnn0, self.cnn1, self.cnn2):
            values = self.relu(conv(values))
        features: Tensor = self.cnn3(values)
        return features


def _leaky(_width: int) -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2, inplace=True)
