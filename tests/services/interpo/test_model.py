"""The setting names the generation, and a task's details name it too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from services.interpo.model import load
from shared import weights
from shared.errors import JobFailed
from shared.networks.rife import Rife
from shared.networks.rife_blocks import LAYOUTS
from shared.settings import InterpoSettings, Settings


def test_a_generation_is_chosen_by_its_name(store: Path, tmp_path: Path) -> None:
    assert store.exists()
    settings = Settings(device="cpu", interpo=InterpoSettings(model="4.26"))
    with pytest.raises(JobFailed, match=r"kinora weights pull rife-4\.26"):
        load(settings)
    torch.save(Rife(LAYOUTS["4.25"]).state_dict(), tmp_path / "flownet.pkl")
    weights.add("rife-4.26", tmp_path / "flownet.pkl")
    model = load(settings)
    assert model.name.startswith("RIFE 4.26, cpu")
    picture = np.zeros((20, 30, 3), np.uint8)
    [between] = model(picture, picture + 1, [0.5])
    assert between.shape == picture.shape


def test_the_default_is_4_0_refined() -> None:
    assert load(Settings(device="cpu")).name.startswith("RIFE 4.0 refined, cpu")
