"""RRDBNet: residual-in-residual dense blocks, the network of realesrgan-x4plus (23 blocks) and x4plus-anime (6).

Source: ESRGAN (Wang et al. 2018, arXiv:1809.00219), section 3.1; Real-ESRGAN (arXiv:2107.10833).
"""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from shared.networks.area import shrink

SCALE = 4
SLOPE = 0.2  # of every leaky ReLU
RESIDUAL = 0.2  # how much of a block's output is added to its input
TAIL_REACH = 2  # pixels of features that the enlarging end looks at on each side: one at x2 and three at x4
TAIL_PIXELS = 1 << 14  # of features that are enlarged at a time: 64 channels at 16 times the pixels are 64 MB in fp32


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the input and everything before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(features + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(features + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(features + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features, H, W) in and out."""
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat((seen, leaky_relu(conv(seen), SLOPE)), 1)
        return torch.add(x, self.conv5(seen), alpha=RESIDUAL)


class ResidualBlock(nn.Module):
    """Three dense blocks in a row, inside one more residual."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features, H, W) in and out."""
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=RESIDUAL)


class RRDB(nn.Module):
    """Input (N, 3, H, W) RGB 0-1 fp32, output (N, 3, H*4, W*4) RGB about 0-1 fp32, not clamped.

    Everything but the last convolution may run in half precision: that one makes the picture itself, for which bf16
    has too few digits.
    """

    def __init__(self, *, features: int, growth: int, blocks: int) -> None:
        super().__init__()
        self.features = features
        self.growth = growth
        self.conv_first = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(features, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """Build the network that these weights belong to."""
        growth, features = weights["body.0.rdb1.conv1.weight"].shape[:2]
        blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("body."))
        network = cls(features=features, growth=growth, blocks=blocks)
        network.load_state_dict(weights)
        return network

    @property
    def reach(self) -> int:
        """How many input pixels away an output pixel still depends on: one a convolution, less where it is enlarged."""
        return 15 * len(self.body) + 4

    @property
    def values_per_pixel(self) -> int:
        """Numbers alive at once for an input pixel: the dense block's stack, its copy, and three residuals."""
        return 2 * (self.features + 4 * self.growth) + 3 * self.features + 3 * SCALE**2

    def at_scale(self, scale: int) -> nn.Module:
        """Return a network for `scale` 1-4 that shares these layers; its output is the x4 picture, area-averaged."""
        return self if scale == SCALE else Shrunk(self, scale)

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Compute all but the last convolution in `dtype`, in place."""
        self.to(dtype)
        self.conv_last.float()
        return self

    def forward(self, picture: Tensor) -> Tensor:
        """Return the picture x4, see the class."""
        first = self.conv_first(picture.to(self.conv_first.weight.dtype))
        features = first + self.conv_body(self.body(first))
        height, width = features.shape[2:]
        rows = max(TAIL_PIXELS // width, 1)
        strips = []
        for top in range(0, height, rows):
            begin, bottom = max(top - TAIL_REACH, 0), min(top + rows, height)
            strip = self._enlarge(features[:, :, begin : bottom + TAIL_REACH])
            strips.append(strip[:, :, (top - begin) * SCALE : (bottom - begin) * SCALE])
        return torch.cat(strips, 2)

    def _enlarge(self, features: Tensor) -> Tensor:
        """(N, features, h, w) to the picture (N, 3, h*4, w*4): sixteen times the memory, so it is done in strips."""
        for conv in (self.conv_up1, self.conv_up2):
            features = leaky_relu(conv(interpolate(features, scale_factor=2, mode="nearest")), SLOPE)
        picture: Tensor = self.conv_last(leaky_relu(self.conv_hr(features), SLOPE).float())
        return picture


class Shrunk(nn.Module):
    """A x4 network whose output is averaged to a smaller scale on the same device."""

    def __init__(self, network: nn.Module, scale: int) -> None:
        super().__init__()
        self.network = network
        self.scale = scale

    def forward(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H*scale, W*scale)."""
        return shrink(self.network(picture), SCALE, self.scale)
