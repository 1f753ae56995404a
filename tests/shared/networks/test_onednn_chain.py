"""Chains of convolutions and PReLUs in oneDNN's own layout."""

import pytest
import torch
from torch import nn

from shared.networks.onednn_chain import OneDnnChain, has_onednn_bfloat16


@pytest.mark.parametrize("groups", [1, 3])
@torch.inference_mode()
def test_a_chain_is_computed_as_torch_does_in_bfloat16(groups: int) -> None:
    torch.manual_seed(1)
    prelu = nn.PReLU(48)
    nn.init.uniform_(prelu.weight, -1, 2)
    chain = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), prelu, nn.Conv2d(48, 48, 3, padding=1, groups=groups))
    values = torch.randn(2, 3, 11, 18)
    if not has_onednn_bfloat16():
        with pytest.raises(RuntimeError):
            OneDnnChain(chain)(values)
        return
    wanted = chain(values)
    for given in (values, values.contiguous(memory_format=torch.channels_last)):
        made = OneDnnChain(chain)(given)
        assert made.dtype == torch.float32
        # Each of three layers rounds to 8 bits of significand: 1/256 of the largest values at most.
        torch.testing.assert_close(made, wanted, atol=3 / 256 * float(wanted.abs().max()), rtol=0)
