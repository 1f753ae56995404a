"""A convolution with everything that follows it pixel by pixel, from one buffer of features into another."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

SMALLEST = 16  # channels that matrix units multiply at a time; fewer are filled up with zeros


class FusedConv(nn.Module):
    """A 3x3 convolution with bias, a leaky activation and up to two residuals, in one pass over memory.

    Features are (H, W, channels) fp16 views with channels last in memory; a view may be some channels of a wider
    buffer, so that concatenation is writing side by side. On a device without the kernel torch computes the same.
    """

    def __init__(self, weight: Tensor, bias: Tensor, slope: Tensor | float | None = None) -> None:
        """`weight` (outputs, inputs, 3, 3), `bias` (outputs,); `slope` of the negative side, one or one a channel."""
        super().__init__()
        outputs, inputs = weight.shape[:2]
        self.outputs = outputs
        filled = torch.zeros(filled_outputs(outputs), filled_inputs(inputs), 3, 3)
        filled[:outputs, :inputs] = weight.detach().float()
        self.weight = nn.Parameter(filled.permute(3, 2, 1, 0).contiguous(), requires_grad=False)
        self.bias = nn.Parameter(_filled_up(bias.detach().float(), len(filled)), requires_grad=False)
        slopes = None if slope is None else torch.as_tensor(slope, dtype=torch.float32).detach().expand(outputs)
        self.slope = None if slopes is None else nn.Parameter(_filled_up(slopes, len(filled)), requires_grad=False)

    @classmethod
    def of(cls, conv: nn.Conv2d, slope: Tensor | float | None = None) -> Self:
        """Take a layer of torch over; a grouped one becomes a dense one with zeros."""
        assert conv.bias is not None
        weight = conv.weight.detach().float()
        if conv.groups > 1:
            each = weight.shape[1]
            shares = enumerate(weight.chunk(conv.groups))
            weight = torch.cat(
                [pad(share, (0, 0, 0, 0, each * at, conv.in_channels - each * (at + 1))) for at, share in shares]
            )
        return cls(weight, conv.bias, slope)

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Multiply in `dtype`; bias and slopes stay fp32, as the sums do."""
        self.weight.data = self.weight.data.to(dtype)
        return self

    def forward(
        self,
        x: Tensor,
        out: Tensor,
        residuals: tuple[Tensor, ...] = (),
        scale: float = 1.0,
        *,
        doubled: bool = False,
    ) -> Tensor:
        """Write conv(x) into `out` and return it.

        Each residual is added to `scale` times what is there. With `doubled` every pixel of `x` counts as two by two:
        an enlargement that is never written down.
        """
        if x.device.type == "cuda":
            from shared.networks.fused.kernel import conv3x3  # noqa: PLC0415  # needs Triton, which only CUDA brings

            conv3x3(
                x, self.weight, self.bias, self.slope, out, residuals=residuals, scale=scale, doubled=doubled
            )  # fmt: skip
            return out
        if doubled:
            x = x.repeat_interleave(2, 0).repeat_interleave(2, 1)
        weight = self.weight.permute(3, 2, 1, 0).to(x.dtype)
        values = conv2d(x.permute(2, 0, 1)[None].float(), weight.float(), self.bias, padding=1)[0].permute(1, 2, 0)
        if self.slope is not None:
            values = torch.where(values > 0, values, values * self.slope)
        for residual in residuals:
            values = values * scale + residual
        return out.copy_(values)


def filled_inputs(channels: int) -> int:
    """Return how many channels a buffer has that a convolution of so many inputs reads."""
    return -(-channels // SMALLEST) * SMALLEST


def filled_outputs(channels: int) -> int:
    """Return how many channels a convolution of so many outputs writes: 16, or a multiple of 32, which tiles need."""
    return SMALLEST if channels <= SMALLEST else -(-channels // (2 * SMALLEST)) * 2 * SMALLEST


def _filled_up(values: Tensor, length: int) -> Tensor:
    return torch.cat((values, values.new_zeros(length - len(values))))
