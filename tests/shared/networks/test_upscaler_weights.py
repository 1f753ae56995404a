"""Any file of the two architectures is recognised, whatever its layers are called; all others are refused in words."""

import re

import pytest
import torch
from torch import Tensor

from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler_weights import upscaler_of

LAST = {"conv_up1": 3, "conv_up2": 6, "conv_hr": 8, "conv_last": 10}
SECOND = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}


@pytest.fixture(scope="module")
def rrdb() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return RRDB(features=8, growth=4, blocks=2).state_dict()


def srvgg(*, last: int = 48) -> dict[str, Tensor]:
    torch.manual_seed(2)
    shapes = {"0": (8, 3, 3, 3), "2": (8, 8, 3, 3), "4": (last, 8, 3, 3)}
    state = {f"body.{index}.weight": torch.randn(shape) for index, shape in shapes.items()}
    state |= {f"body.{index}.bias": torch.randn(shape[0]) for index, shape in shapes.items()}
    return state | {f"body.{index}.weight": torch.rand(8) for index in ("1", "3")}


def in_first_esrgan_s_names(name: str) -> str:
    layer, kind = name.rsplit(".", 1)
    if dense := re.fullmatch(r"body\.(\d+)\.rdb(\d)\.conv(\d)", layer):
        return f"model.1.sub.{dense[1]}.RDB{dense[2]}.conv{dense[3]}.0.{kind}"
    numbered = {"conv_first": "model.0", "conv_body": "model.1.sub.2"} | {
        key: f"model.{at}" for key, at in LAST.items()
    }
    return f"{numbered[layer]}.{kind}"


def in_second_esrgan_s_names(name: str) -> str:
    layer, kind = name.rsplit(".", 1)
    return f"{SECOND.get(layer, layer.replace('body.', 'RRDB_trunk.').replace('.rdb', '.RDB'))}.{kind}"


@pytest.mark.parametrize("published", [str, in_first_esrgan_s_names, in_second_esrgan_s_names])
def test_an_rrdb_network_is_recognised_by_every_spelling_of_its_layers(
    rrdb: dict[str, Tensor], published: "type[str]"
) -> None:
    network = upscaler_of({published(name): tensor for name, tensor in rrdb.items()})
    assert isinstance(network, RRDB)
    picture = torch.rand(1, 3, 9, 7)
    with torch.inference_mode():
        assert torch.equal(network(picture), RRDB.from_weights(rrdb)(picture))


def test_a_compact_network_is_recognised() -> None:
    network = upscaler_of(srvgg())
    assert isinstance(network, SRVGG)
    assert network.reach == 3


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (srvgg(last=12), "last layer has 12 channels, a network for x4 has 48"),
        ({"conv_first.weight": torch.zeros(8, 12, 3, 3)}, "takes 12 channels, a network for x4 takes 3"),
        ({"block0.conv0.0.0.weight": torch.zeros(1)}, "neither SRVGGNetCompact nor RRDBNet"),
        (
            {"body.0.weight": torch.zeros(48, 3, 3, 3), "body.0.gamma": torch.zeros(1)},
            "its layers are those of neither",
        ),
        ({"conv_first.weight": torch.zeros(8, 3, 3, 3)}, "its layers are those of neither"),
        ({}, "neither SRVGGNetCompact nor RRDBNet"),
    ],
)
def test_any_other_network_is_refused_in_a_few_words(weights: dict[str, Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        upscaler_of(weights)
