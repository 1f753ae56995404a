"""Which library computes RIFE on a CPU."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from shared import weights
from shared.networks import rife_engines as module
from shared.networks.compute import Compute
from shared.networks.engines import BF16, FP32, NCNN, Engine
from shared.networks.fastest import AGREEMENT
from shared.networks.interpolator import Interpolator
from shared.networks.ncnn_graph import NcnnChain
from shared.networks.rife import Rife
from shared.networks.rife_blocks import LAYOUTS, FlowBlock, ResidualConv
from shared.networks.rife_engines import choose_rife_engine
from tests.support.chosen_engine import picks

CPU = Compute(torch.device("cpu"), torch.float32)


def real() -> Rife:
    return Rife.from_weights(weights.load_safetensors("rife-4.0"), "4.0")


@pytest.mark.parametrize(
    ("name", "dtype", "told"),
    [
        (NCNN, torch.float32, "cpu float32, ncnn"),
        (FP32, torch.float32, "cpu float32"),
        (BF16, torch.bfloat16, "cpu bfloat16"),
    ],
)
def test_the_fastest_computes(monkeypatch: pytest.MonkeyPatch, name: str, dtype: torch.dtype, told: str) -> None:
    monkeypatch.setattr(module, "cpu_multiplies_bfloat16", lambda: True)
    offered = picks(monkeypatch, module, name, "RIFE 4.0 refined")
    engine = choose_rife_engine(real(), "4.0", CPU, {}, refine=True)
    assert offered == [(FP32, BF16, NCNN)]
    assert (engine.compute.dtype, engine.name) == (dtype, told)
    assert Interpolator(real(), engine.compute, engine=engine).name == f"RIFE 4.0 refined, {told}"


def test_only_torch_computes_on_a_gpu() -> None:
    gpu = Compute(torch.device("cuda"), torch.float16)
    assert choose_rife_engine(real(), "4.0", gpu, {}, refine=True) == Engine(gpu)


def test_the_real_choice_is_remembered_and_leaves_the_network_as_it_is() -> None:
    remembered: dict[str, str] = {}
    network = real()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = choose_rife_engine(network, "4.0", CPU, remembered, refine=False)
    assert next(iter(remembered.values())) in {FP32, BF16, NCNN}
    assert choose_rife_engine(network, "4.0", CPU, remembered, refine=False) == first
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_every_engine_agrees_on_what_it_is_tried_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice would be worth nothing if one never did."""
    monkeypatch.setattr(module, "cpu_multiplies_bfloat16", lambda: True)
    made: dict[str, torch.Tensor] = {}

    def compute(engines: dict[str, Callable[[], nn.Module]], frames: torch.Tensor, *_: object, **__: object) -> str:
        with torch.inference_mode():
            made.update({name: build()(frames) for name, build in engines.items()})
        return FP32

    monkeypatch.setattr(module, "fastest", compute)
    choose_rife_engine(real(), "4.0", CPU, {}, refine=True)
    for name, margin in ((BF16, 5), (NCNN, 50)):
        error = float((made[name] - made[FP32]).square().mean().clamp(min=1e-14))
        assert -10 * np.log10(error) > AGREEMENT + margin, name


def test_frames_are_the_same_from_ncnn() -> None:
    """The instants of a pair are computed together: each is one more picture for the graph."""
    texture = np.random.default_rng(1).integers(0, 256, (12, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    first, second = np.ascontiguousarray(texture[:64, :96]), np.ascontiguousarray(texture[:64, 3:99])
    by_torch = list(Interpolator(real(), CPU)(first, second, [0.25, 0.5]))
    by_ncnn = list(Interpolator(real(), CPU, engine=Engine(CPU, is_ncnn=True))(first, second, [0.25, 0.5]))
    for one, other in zip(by_torch, by_ncnn, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


@torch.inference_mode()
def test_residual_bodies_are_chains_of_plain_convolutions() -> None:
    torch.manual_seed(1)
    block = FlowBlock(LAYOUTS["4.25"], 7, 32)
    for residual in block.modules():
        if isinstance(residual, ResidualConv):
            nn.init.uniform_(residual.beta, 0.5, 1.5)
    values = torch.randn(1, 32, 12, 20)
    expected = block.convblock(values)
    torch.testing.assert_close(block.plain_body()(values), expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(NcnnChain(block.plain_body())(values), expected, atol=1e-4, rtol=1e-3)
