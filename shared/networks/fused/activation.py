"""A convolution of the library's, and its bias and activation in one pass behind it, for networks of other shapes."""

import torch
from torch import Tensor, nn

Convolution = nn.Conv2d | nn.ConvTranspose2d


class ConvActivation(nn.Module):
    """(N, C, H, W) with channels last in memory; the same as the two modules that it takes over."""

    def __init__(self, conv: Convolution, activation: nn.PReLU | nn.LeakyReLU) -> None:
        super().__init__()
        assert conv.bias is not None
        outputs = conv.out_channels
        slope = activation.weight if isinstance(activation, nn.PReLU) else torch.tensor(activation.negative_slope)
        self.bias = nn.Parameter(conv.bias.detach().float(), requires_grad=False)
        self.slope = nn.Parameter(slope.detach().float().expand(outputs).contiguous(), requires_grad=False)
        conv.bias = None
        self.conv = conv

    def forward(self, values: Tensor) -> Tensor:
        """Convolve and activate."""
        made: Tensor = self.conv(values)
        made = made.contiguous(memory_format=torch.channels_last)
        if made.device.type == "cuda":
            from shared.networks.fused.kernel import activate  # noqa: PLC0415  # needs Triton, which only CUDA brings

            activate(made, self.bias, self.slope)
            return made
        biased = made + self.bias.view(-1, 1, 1).to(made.dtype)
        return torch.where(biased > 0, biased, biased * self.slope.view(-1, 1, 1).to(made.dtype))


def fuse_activations(network: nn.Module) -> None:
    """Replace every pair of a convolution and its activation, in place, when the network has its device and dtype."""
    for module in network.modules():
        for name, child in module.named_children():
            if not isinstance(child, nn.Sequential) or len(child) != 2:  # noqa: PLR2004
                continue
            conv, activation = child
            if (
                isinstance(conv, Convolution)
                and isinstance(activation, nn.PReLU | nn.LeakyReLU)
                and conv.bias is not None
            ):
                setattr(module, name, ConvActivation(conv, activation))
