"""Which library computes an upscaling network on a CPU."""

import numpy as np
import pytest
import torch

from shared import weights
from shared.networks import engines as module
from shared.networks.compute import Compute
from shared.networks.engines import BF16, FP32, NCNN, NCNN_BF16, Engine, choose_engine, natural_picture
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Upscaler
from tests.support.chosen_engine import picks

CPU = Compute(torch.device("cpu"), torch.float32)


def compact() -> SRVGG:
    return SRVGG.from_weights(weights.load_safetensors("realesr-animevideov3")).anchored()


@pytest.mark.parametrize(
    ("name", "dtype", "told"),
    [
        (NCNN, torch.float32, "cpu float32, ncnn"),
        (NCNN_BF16, torch.bfloat16, "cpu bfloat16, ncnn"),
        (FP32, torch.float32, "cpu float32"),
        (BF16, torch.bfloat16, "cpu bfloat16"),
    ],
)
def test_the_fastest_computes(monkeypatch: pytest.MonkeyPatch, name: str, dtype: torch.dtype, told: str) -> None:
    monkeypatch.setattr(module, "cpu_multiplies_bfloat16", lambda: True)
    offered = picks(monkeypatch, module, name, "net")
    engine = choose_engine(compact(), "net", CPU, {})
    assert offered == [(FP32, BF16, NCNN, NCNN_BF16)]
    assert (engine.compute.dtype, engine.name) == (dtype, told)


def test_bfloat16_is_not_tried_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_multiplies_bfloat16", lambda: False)
    offered = picks(monkeypatch, module, FP32, "net")
    choose_engine(compact(), "net", CPU, {})
    assert offered == [(FP32, NCNN, NCNN_BF16)]


def test_without_ncnn_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_ncnn", lambda: False)
    offered = picks(monkeypatch, module, FP32, "net")
    choose_engine(compact(), "net", CPU, {})
    assert not {NCNN, NCNN_BF16} & set(offered[0])


def test_the_deep_networks_are_torch_s() -> None:
    network = RRDB(features=16, growth=16, blocks=1)
    assert choose_engine(network, "net", CPU, {}) == Engine(CPU)


def test_a_frame_is_the_same_from_every_engine() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (40, 56, 3), np.uint8)
    for ratio in (1, 2, 4):
        by_torch = Upscaler(compact(), CPU)(frame, ratio).astype(int)
        by_ncnn = Upscaler(compact(), CPU, engine=Engine(CPU, is_ncnn=True))(frame, ratio).astype(int)
        assert np.abs(by_torch - by_ncnn).max() <= 1


def test_bfloat16_agrees_on_what_it_is_tried_with() -> None:
    """As it does on film; the test of the choice would be worth nothing if it never did."""
    plain = compact().float()
    reduced = compact().in_precision(torch.bfloat16)
    with torch.inference_mode():
        window = natural_picture(90, 160)
        error = (reduced(window) - plain(window)).square().mean()
    assert float(-10 * torch.log10(error)) > 55


def test_the_real_choice_takes_seconds_and_is_remembered() -> None:
    remembered: dict[str, str] = {}
    first = choose_engine(compact(), "net", CPU, remembered)
    assert next(iter(remembered.values())) in {FP32, BF16, NCNN, NCNN_BF16}
    assert choose_engine(compact(), "net", CPU, remembered) == first
