"""A folder in miniature for every row of the table of models: random weights, everything else as published."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from torch import nn

from benchmarks.wan_models import vae_of_48
from tests.support.tiny_wan import TRANSFORMER, WEIGHT_STD, build_plain, build_vace, save

# A transformer of 14 billion parameters is known by its 40 heads; these are of six features each.
LARGE = TRANSFORMER | {"num_attention_heads": 40, "attention_head_dim": 6}
MASK_CHANNELS = 4


def build_model(name: str, folder: Path) -> Path:
    """Save the model of a row, by its name; the same weights every time."""
    return BUILDERS[name](folder)


def build_large_vace(folder: Path) -> Path:
    """Save a VACE model that counts as one with 14 billion parameters."""
    torch.manual_seed(2)
    transformer = WanVACETransformer3DModel(num_layers=2, vace_layers=[0], vace_in_channels=96, **LARGE)
    nn.init.normal_(transformer.vace_patch_embedding.weight, std=WEIGHT_STD)
    return save(WanVACEPipeline, transformer, folder)


def build_ti2v(folder: Path) -> Path:
    """Save Wan 2.2's TI2V-5B: 48 channels of latents, a time for each token, a VAE that halves sides four times."""
    torch.manual_seed(3)
    vae = vae_of_48("tiny")
    return save(WanPipeline, _transformer(48, 48), folder, vae=vae, expand_timesteps=True)


def build_t2v_pair(folder: Path) -> Path:
    """Save Wan 2.2's T2V-A14B: two transformers and the boundary between them."""
    torch.manual_seed(4)
    pair = {"transformer_2": _transformer(16, 16), "boundary_ratio": 0.875}
    return save(WanPipeline, _transformer(16, 16), folder, **pair)


def build_i2v_pair(folder: Path) -> Path:
    """Save Wan 2.2's I2V-A14B, whose transformers see the noise, which frames are given, and these."""
    torch.manual_seed(5)
    channels = 16 + MASK_CHANNELS + 16
    pair = {"transformer_2": _transformer(channels, 16), "boundary_ratio": 0.9}
    return save(WanImageToVideoPipeline, _transformer(channels, 16), folder, **pair)


def _transformer(channels: int, made: int) -> WanTransformer3DModel:
    config: dict[str, Any] = TRANSFORMER | {"in_channels": channels, "out_channels": made}
    return WanTransformer3DModel(num_layers=2, **config)


BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    "wan-vace-1.3b": build_vace,
    "wan-vace-14b": build_large_vace,
    "wan-draft-1.3b": build_plain,
    "wan2.2-ti2v-5b": build_ti2v,
    "wan2.2-t2v-a14b": build_t2v_pair,
    "wan2.2-i2v-a14b": build_i2v_pair,
}
