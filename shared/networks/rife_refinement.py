"""RIFE 4.0's second half: features of both frames, and a U-Net that corrects the warped and mixed frame.

Later generations of the weights do not have it. Source: the paper and the layouts named in `rife.py`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared.networks.prelu import PReLU


class ContextEncoder(nn.Module):
    """A frame's features at 1/2, 1/4, 1/8 and 1/16 of its size, 16, 32, 64 and 128 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = DoubleConv(3, 16)
        self.conv2 = DoubleConv(16, 32)
        self.conv3 = DoubleConv(32, 64)
        self.conv4 = DoubleConv(64, 128)

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Return float32 levels, laid out plane by plane, as warping needs them."""
        levels, values = [], frame
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            values = conv(values)
            levels.append(values.float().contiguous())
        return tuple(levels)


class Refinement(nn.Module):
    """A U-Net over frames, warped frames, mask and flow; its output is a correction in (-1, 1)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.down0 = DoubleConv(inputs, 32)
        self.down1 = DoubleConv(64, 64)
        self.down2 = DoubleConv(128, 128)
        self.down3 = DoubleConv(256, 256)
        self.up0 = _enlarge(512, 128)
        self.up1 = _enlarge(256, 64)
        self.up2 = _enlarge(128, 32)
        self.up3 = _enlarge(64, 16)
        self.conv = nn.Conv2d(16, 3, 3, 1, 1)

    def forward(self, seen: Sequence[Tensor], context: Sequence[Tensor]) -> Tensor:
        """`context` holds both frames' warped levels, fine to coarse; returns (T, 3, H, W) float32."""
        context = [level.to(self.conv.weight.dtype) for level in context]
        # Concatenated in the call, so that the largest tensor is freed before the next one is made.
        fine = self.down0(torch.cat(tuple(seen), 1).to(self.conv.weight.dtype))
        half = self.down1(torch.cat((fine, context[0]), 1))
        quarter = self.down2(torch.cat((half, context[1]), 1))
        values = self.down3(torch.cat((quarter, context[2]), 1))
        values = self.up0(torch.cat((values, context[3]), 1))
        values = self.up1(torch.cat((values, quarter), 1))
        values = self.up2(torch.cat((values, half), 1))
        values = self.up3(torch.cat((values, fine), 1))
        return torch.sigmoid(self.conv(values).float()) * 2 - 1


class DoubleConv(nn.Module):
    """Two convolutions, the first of which halves the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = prelu_conv(inputs, outputs, stride=2)
        self.conv2 = prelu_conv(outputs, outputs)

    def forward(self, values: Tensor) -> Tensor:
        smaller: Tensor = self.conv2(self.conv1(values))
        return smaller


def prelu_conv(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), PReLU(outputs))


def _enlarge(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), PReLU(outputs))
