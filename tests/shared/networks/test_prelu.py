"""PReLU by rows is PReLU."""

import pytest
import torch
from torch import nn

from shared.networks.prelu import PReLU


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 16, 5, 7), (1, 48, 3, 1), (1, 5, 1, 9), (1, 1, 1, 1)])
@torch.inference_mode()
def test_it_answers_as_torch_s_does(
    shape: tuple[int, int, int, int], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    torch.manual_seed(1)
    plain, ours = nn.PReLU(shape[1]), PReLU(shape[1])
    nn.init.uniform_(plain.weight, -1, 2)
    ours.load_state_dict(plain.state_dict())
    values = torch.randn(shape).to(dtype).contiguous(memory_format=layout)
    assert torch.equal(ours.to(dtype)(values), plain.to(dtype)(values))
