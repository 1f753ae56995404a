"""SRVGGNetCompact: the plain chain of convolutions behind realesr-animevideov3 and realesr-general-x4v3.

Source: Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833) and its release notes on the compact video models.
"""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from shared.networks.area import area_average

SCALE = 4
CHANNELS = 3
LAST = -1
ANCHOR = 0.26  # docs/upscale.md has the reasons: the reduced result gains 2 dB and stays within 45 dB of the original


class SRVGG(nn.Module):
    """Convolutions with PReLU between them, then a pixel shuffle added to the nearest-neighbour picture.

    Input (N, 3, H, W) RGB 0-1 fp32, output (N, 3, H*scale, W*scale) RGB about 0-1 fp32, not clamped. The body may run
    in half precision: its output is a small correction, added to the picture in fp32.
    """

    def __init__(self, body: nn.Sequential, scale: int = SCALE) -> None:
        super().__init__()
        self.body = body
        self.scale = scale

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """Build the network that these weights belong to: `body.0` a convolution, `body.1` its PReLU, and so on."""
        layers: list[nn.Module] = []
        for index in range(1 + max(int(name.split(".")[1]) for name in weights)):
            weight = weights[f"body.{index}.weight"]
            is_slope = weight.ndim == 1
            layers.append(nn.PReLU(len(weight)) if is_slope else nn.Conv2d(weight.shape[1], len(weight), 3, padding=1))
        network = cls(nn.Sequential(*layers))
        network.load_state_dict(weights)
        return network

    def anchored(self, share: float = ANCHOR) -> Self:
        """Return the network with `share` of its deviation from its input subtracted: it makes pictures too bright.

        The deviation of an enlarged block is the mean of its corrections. It is spread linearly between the blocks'
        centres, so that no grid shows, and is one more small convolution after the others.
        """
        inner = torch.arange(SCALE).add(0.5).div(SCALE).sub(0.5)  # of a sub-pixel, from its block's centre
        near = torch.stack([(-inner).clamp(min=0), 1 - inner.abs(), inner.clamp(min=0)], 1)
        spread = torch.einsum("iy,jx->ijyx", near, near).reshape(SCALE**2, 1, 3, 3)
        weight = (-share / SCALE**2 * spread).repeat(CHANNELS, SCALE**2, 1, 1)
        weight[:, :, 1, 1] += torch.eye(SCALE**2).repeat(CHANNELS, 1)
        layer = nn.Conv2d(CHANNELS * SCALE**2, CHANNELS * SCALE**2, 3, padding=1, groups=CHANNELS, bias=True)
        layer.load_state_dict({"weight": weight, "bias": torch.zeros(CHANNELS * SCALE**2)})
        return type(self)(nn.Sequential(*self.body, layer), self.scale)

    @property
    def reach(self) -> int:
        """How many input pixels away an output pixel still depends on: one a convolution."""
        return sum(isinstance(layer, nn.Conv2d) for layer in self.body)

    @property
    def values_per_pixel(self) -> int:
        """Numbers alive at once for an input pixel: a layer's input, its output, and the picture being made."""
        first = next(self.parameters())
        return 2 * len(first) + 2 * CHANNELS * SCALE**2

    def at_scale(self, scale: int) -> Self:
        """Return a network for `scale` 1-4 that shares this one's layers; its output is the x4 picture, area-averaged.

        An area average is linear and stays inside the block that the shuffle makes of one input pixel, so it is
        merged into the last convolution: no computed value is discarded.
        """
        if scale == self.scale:
            return self
        last = self.body[LAST]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        average = area_average(SCALE, scale)
        fold = torch.einsum("ai,bj->abij", average, average).reshape(scale**2, SCALE**2).to(last.weight.device)
        folded = nn.Conv2d(last.in_channels, CHANNELS * scale**2, 3, padding=1, groups=last.groups)
        weight = last.weight.detach().float().reshape(CHANNELS, SCALE**2, -1)
        bias = last.bias.detach().float().reshape(CHANNELS, SCALE**2)
        folded.load_state_dict(
            {"weight": (fold @ weight).reshape(folded.weight.shape), "bias": (bias @ fold.T).flatten()}
        )
        return type(self)(
            nn.Sequential(*list(self.body)[:LAST], folded.to(last.weight.device, last.weight.dtype)), scale
        )

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Compute the body in `dtype`, in place."""
        return self.to(dtype)

    def forward(self, picture: Tensor) -> Tensor:
        """Return the picture at `scale`, see the class."""
        correction: Tensor = self.body(picture.to(next(self.parameters()).dtype))
        enlarged = interpolate(picture, scale_factor=self.scale, mode="nearest")
        return enlarged.add_(pixel_shuffle(correction, self.scale))
