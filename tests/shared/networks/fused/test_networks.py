"""Networks with fused convolutions make the same pictures. Here torch stands in for the kernel, which needs a GPU."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from shared import weights
from shared.networks.fused import can_fuse, fuse, fuse_activations
from shared.networks.fused.convolution import FusedConv
from shared.networks.rife import Rife
from shared.networks.rife_blocks import LAYOUTS
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG


def decibels(made: Tensor, wanted: Tensor) -> float:
    return float(-10 * torch.log10((made - wanted).square().mean().clamp(min=1e-20)))


def pictures() -> Tensor:
    torch.manual_seed(1)
    return interpolate(torch.rand(2, 3, 6, 8), size=(21, 30), mode="bilinear")


def networks() -> list[SRVGG | RRDB]:
    torch.manual_seed(2)
    return [
        SRVGG.from_weights(weights.load_safetensors("realesr-animevideov3")).anchored().float(),
        RRDB(features=16, growth=16, blocks=3),  # three: every one of the four buffers is a block's first in turn
    ]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("which", [0, 1], ids=["srvgg", "rrdb"])
@torch.inference_mode()
def test_the_picture_is_that_of_the_plain_network(which: int, scale: int) -> None:
    network = networks()[which].at_scale(scale).float()
    assert decibels(fuse(network, torch.float32)(pictures()), network(pictures())) > 100


@torch.inference_mode()
def test_sixteen_bits_are_enough() -> None:
    network = networks()[0]
    assert decibels(fuse(network, torch.float16)(pictures()), network(pictures())) > 60


@torch.inference_mode()
def test_strips_of_the_enlarging_end_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = fuse(networks()[1], torch.float32)
    whole = fused(pictures())
    monkeypatch.setattr("shared.networks.fused.networks.TAIL_PIXELS", 4 * 30)
    assert decibels(fused(pictures()), whole) > 120


@torch.inference_mode()
def test_a_convolution_does_all_that_follows_it() -> None:
    torch.manual_seed(3)
    conv = nn.Conv2d(16, 24, 3, padding=1)
    x, near, far = torch.randn(5, 7, 16), torch.randn(10, 14, 32), torch.randn(10, 14, 32)
    out = FusedConv.of(conv, 0.2)(x, torch.empty(10, 14, 32), (near, far), 0.5, doubled=True)
    plain = conv2d(interpolate(x.permute(2, 0, 1)[None], scale_factor=2), conv.weight, conv.bias, padding=1)
    wanted = (torch.where(plain > 0, plain, 0.2 * plain)[0].permute(1, 2, 0) * 0.5 + near[..., :24]) * 0.5 + far[
        ..., :24
    ]
    torch.testing.assert_close(out[..., :24], wanted, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_grouped_convolution_becomes_a_dense_one() -> None:
    conv = nn.Conv2d(48, 48, 3, padding=1, groups=3)
    x = torch.randn(6, 9, 48)
    out = FusedConv.of(conv)(x, torch.empty(6, 9, 64))
    torch.testing.assert_close(out[..., :48], conv(x.permute(2, 0, 1)[None])[0].permute(1, 2, 0), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_activations_are_fused_in_place_and_change_nothing() -> None:
    torch.manual_seed(4)
    network = Rife(LAYOUTS["4.0"]).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs
    frames = torch.rand(2, 1, 3, 64, 64)
    middle = torch.tensor([0.5])

    def between() -> Tensor:
        made: Tensor = network(*(network.features(frame, refine=True) for frame in frames), middle, refine=True)
        return made

    plain = between()
    fuse_activations(network)
    assert not any(isinstance(module, nn.PReLU) for module in network.modules())
    assert decibels(between(), plain) > 100


def test_a_cpu_keeps_its_networks() -> None:
    assert not can_fuse(torch.device("cpu"))
