"""Chains of convolutions that ncnn computes."""

import pytest
import torch
from torch import nn

from shared.networks.ncnn_graph import NcnnChain


def chain(channels: int, groups: int = 1) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for _ in range(3):
        prelu = nn.PReLU(channels)
        nn.init.uniform_(prelu.weight, -0.5, 0.5)
        layers += [nn.Conv2d(channels, channels, 3, padding=1, groups=groups), prelu]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(("channels", "groups"), [(5, 1), (32, 1), (12, 3)])
@torch.inference_mode()
def test_a_chain_is_computed_as_torch_does(channels: int, groups: int) -> None:
    layers = chain(channels, groups)
    values = torch.randn(2, channels, 13, 22)
    for given in (values, values.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(NcnnChain(layers)(given), layers(values), atol=1e-5, rtol=1e-4)


def test_a_layer_that_ncnn_would_compute_otherwise_is_refused() -> None:
    with pytest.raises(AssertionError):
        NcnnChain(nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1)))
