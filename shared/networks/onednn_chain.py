"""Convolutions and PReLUs that oneDNN computes in bf16, in its own layout from the first to the last."""

import torch
from torch import Tensor, nn


def has_onednn_bfloat16() -> bool:
    """Whether oneDNN computes in bf16 on this processor, with what it was told to use of it."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  # no public name knows ONEDNN_MAX_CPU_ISA


class OneDnnChain(nn.Module):
    """(N, C, H, W) to what a `Sequential` of convolutions, which keep the size, and PReLUs makes of it, both fp32.

    The same as torch in bf16. But torch calls oneDNN's PReLU, which takes a third of the time of its own, only for
    tensors in oneDNN's layout.
    """

    def __init__(self, chain: nn.Sequential) -> None:
        super().__init__()
        self._layers = [_Convolution(layer) if isinstance(layer, nn.Conv2d) else _PReLU(layer) for layer in chain]

    def forward(self, values: Tensor) -> Tensor:
        """Return what the last layer makes, plane by plane."""
        made = values.contiguous().to_mkldnn(torch.bfloat16)
        for layer in self._layers:
            made = layer(made)
        return made.to_dense(torch.float32)


class _Convolution:
    def __init__(self, conv: nn.Conv2d) -> None:
        assert conv.bias is not None
        assert not isinstance(conv.padding, str)
        self._how = (conv.padding, conv.stride, conv.dilation, conv.groups)
        weight = conv.weight.detach().to(torch.bfloat16).contiguous().to_mkldnn()
        self._weight = torch.ops.aten.mkldnn_reorder_conv2d_weight(weight, *self._how)
        self._bias = conv.bias.detach().to(torch.bfloat16).to_mkldnn()

    def __call__(self, values: Tensor) -> Tensor:
        return torch.mkldnn_convolution(values, self._weight, self._bias, *self._how)


class _PReLU:
    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.PReLU)
        self._slope = layer.weight.detach().to(torch.bfloat16).to_mkldnn()

    def __call__(self, values: Tensor) -> Tensor:
        return torch.prelu(values, self._slope)
