"""The setting names the network: one of the catalogue, with its strength, or any file of the two architectures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from services.upscale.model import load
from shared import weights
from shared.errors import JobFailed
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.settings import Settings, UpscaleSettings

PLAIN, NOISY = "realesr-general-x4v3", "realesr-general-wdn-x4v3"


def settings(model: str, denoise: float = 1) -> Settings:
    return Settings(device="cpu", upscale=UpscaleSettings(model=model, denoise=denoise))


def compact(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"0": (8, 3, 3, 3), "2": (48, 8, 3, 3)}
    state = {f"body.{index}.weight": torch.randn(shape, generator=generator) / 9 for index, shape in shapes.items()}
    state |= {f"body.{index}.bias": torch.randn(shape[0], generator=generator) for index, shape in shapes.items()}
    return state | {"body.1.weight": torch.rand(8, generator=generator)}


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Tensor]]:
    """Small stand-ins for the two files of general-x4v3 in the store."""
    stored = {PLAIN: compact(1), NOISY: compact(2)}
    monkeypatch.setattr(weights, "exists", lambda name: name in stored)
    monkeypatch.setattr(weights, "load_safetensors", lambda name: stored[name])
    return stored


def body(model: object) -> dict[str, Tensor]:
    network = model._network  # type: ignore[attr-defined]  # what is tested are its numbers
    assert isinstance(network, SRVGG)
    return {name: tensor.float() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_the_strength_of_denoising_mixes_the_two_published_files(
    general: dict[str, dict[str, Tensor]], strength: float
) -> None:
    model = load(settings("general-x4v3", strength))
    for name, tensor in body(model).items():
        mixed = strength * general[PLAIN][name] + (1 - strength) * general[NOISY][name]
        assert torch.allclose(tensor, mixed, atol=2**-7, rtol=2**-7)  # bf16 has 8 bits of significand
    assert model.name == (PLAIN if strength == 1 else f"{PLAIN}, denoise {strength:g}")


def test_without_the_second_file_only_the_full_strength_works(general: dict[str, dict[str, Tensor]]) -> None:
    del general[NOISY]
    assert load(settings("general-x4v3")).name == PLAIN
    with pytest.raises(JobFailed, match=f"KINORA_UPSCALE_DENOISE below 1 needs.*kinora weights pull {NOISY}"):
        load(settings("general-x4v3", 0.5))


def test_any_file_of_the_two_architectures_is_a_model(tmp_path: Path, store: Path) -> None:
    assert store.exists()
    torch.save({"params": compact(3)}, tmp_path / "4x-own.pth")
    save_file(RRDB(features=8, growth=4, blocks=1).state_dict(), tmp_path / "deep.safetensors")
    by_path = load(settings(str(tmp_path / "4x-own.pth")))
    assert by_path.name == "4x-own.pth"
    assert by_path.overlap == 2
    tag = weights.add_own("deep", tmp_path / "deep.safetensors")
    by_name = load(settings(tag))
    assert by_name.name == tag
    assert by_name.overlap == 64
    for model in (by_path, by_name):
        assert model(np.zeros((5, 7, 3), np.uint8), 3).shape == (15, 21, 3)


def test_a_file_of_another_network_is_named(tmp_path: Path) -> None:
    torch.save({"body.0.weight": torch.zeros(12, 3, 3, 3)}, tmp_path / "2x.pth")
    with pytest.raises(JobFailed, match=r"2x.pth cannot be used: its last layer has 12 channels"):
        load(settings(str(tmp_path / "2x.pth")))
