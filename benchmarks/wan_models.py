"""Wan at full size with random weights: time and memory of a network do not depend on its values.

The weights repeat one random block of memory, so that 14 billion of them are made in seconds; zeros would be read
faster than real weights, since untouched memory is one page.
"""

from typing import Any, Literal

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]  # it has no types
from accelerate.utils import set_module_tensor_to_device  # type: ignore[import-untyped]
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from torch import Tensor

from services.creation.engines.wan.models import MODELS

Shape = Literal["tiny", "1.3b", "14b", "5b"]

# As the published config.json of each; `tiny` is for trying the benchmark itself.
SHAPES: dict[Shape, dict[str, Any]] = {
    "tiny": {"num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32, "num_layers": 4, "text_dim": 32},
    "1.3b": {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30},
    "14b": {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40},
    "5b": {"num_attention_heads": 24, "attention_head_dim": 128, "ffn_dim": 14336, "num_layers": 30},
}
PLAIN_SHAPES: dict[str, Shape] = {"wan2.2-ti2v-5b": "5b", "wan2.2-t2v-a14b": "14b", "wan2.2-i2v-a14b": "14b"}
CHANNELS = {"wan2.2-ti2v-5b": (48, 48), "wan2.2-i2v-a14b": (36, 16)}  # of latents, into and out of the transformer
VACE_LAYERS: dict[Shape, list[int]] = {"tiny": [0, 2], "1.3b": list(range(0, 30, 2)), "14b": list(range(0, 40, 5))}
VACE_CHANNELS = 96
FEW_CHANNELS = 16  # of Wan 2.1's latents
BLOCK = 1 << 22  # numbers
SPREAD = 0.02
_HOST = torch.device("cpu")


def plain_transformer(shape: Shape, dtype: torch.dtype, *, layers: int | None = None) -> WanTransformer3DModel:
    """Return the text-to-video transformer, `layers` of its blocks only if given."""
    config = SHAPES[shape] | ({"num_layers": layers} if layers else {})
    return _filled(WanTransformer3DModel, config, dtype)


def random_gates(transformer: WanTransformer3DModel) -> dict[str, Tensor]:
    """Return the gates of video sparse attention as FastWan's file names them."""
    width = transformer.blocks[0].attn1.to_q.in_features
    return {
        f"blocks.{index}.to_gate_compress.{part}": torch.randn(shape) * SPREAD
        for index in range(len(transformer.blocks))
        for part, shape in (("weight", (width, width)), ("bias", (width,)))
    }


def vace_pipeline(shape: Shape, dtype: torch.dtype) -> WanVACEPipeline:
    """Return the pipeline as it is loaded from a checkpoint, without a text encoder."""
    transformer = _filled(WanVACETransformer3DModel, _vace_config(shape), dtype)
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanVACEPipeline(
        tokenizer=None, text_encoder=None, vae=vae(shape), transformer=transformer, scheduler=scheduler
    )


def vace_transformer(shape: Shape, dtype: torch.dtype, device: torch.device) -> WanVACETransformer3DModel:
    """Return the transformer of VACE, its weights made on the device."""
    return _filled(WanVACETransformer3DModel, _vace_config(shape), dtype, device)


def vace_inputs(shape: Shape, size: tuple[int, int], frames: int, device: torch.device) -> dict[str, Any]:
    """Return the arguments of one pass of the transformer over a clip of `size` (width, height)."""
    width, height = size
    latents = (1, 16, (frames - 1) // 4 + 1, height // 8, width // 8)
    scales = torch.ones(len(VACE_LAYERS[shape]), dtype=torch.bfloat16, device=device)
    return {
        "hidden_states": torch.randn(latents, dtype=torch.bfloat16, device=device),
        "timestep": torch.tensor([900.0], device=device),
        "encoder_hidden_states": embedding(shape).to(device),
        "control_hidden_states": torch.randn(1, VACE_CHANNELS, *latents[2:], dtype=torch.bfloat16, device=device),
        "control_hidden_states_scale": scales,
    }


def pair_or_one(
    name: str, shape: Shape, dtype: torch.dtype, device: torch.device = _HOST, count: int | None = None
) -> list[Any]:
    """Return the transformers of one of Wan 2.2's models in `shape`, all of them or `count`."""
    taken, made = CHANNELS.get(name, (16, 16))
    config = SHAPES[shape] | {"in_channels": taken, "out_channels": made}
    return [_filled(WanTransformer3DModel, config, dtype, device) for _ in MODELS[name].transformers[:count]]


def plain_pipeline(name: str, shape: Shape, dtype: torch.dtype) -> WanPipeline:
    """Return the pipeline of one of Wan 2.2's models for texts as it is loaded, without a text encoder."""
    model, networks = MODELS[name], pair_or_one(name, shape, dtype)
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=vae(shape) if model.latent_channels == FEW_CHANNELS else vae_of_48(shape),
        transformer=networks[0],
        transformer_2=networks[1] if len(networks) > 1 else None,
        scheduler=scheduler,
        boundary_ratio=model.boundary_ratio,
        expand_timesteps=model.latent_channels != FEW_CHANNELS,
    )


def plain_inputs(name: str, shape: Shape, size: tuple[int, int], frames: int, device: torch.device) -> dict[str, Any]:
    """Return the arguments of one pass of a transformer of Wan 2.2 over a clip of `size` (width, height)."""
    model, (width, height) = MODELS[name], size
    factor = model.multiple // 2  # pixels on a side of a latent: two of these are a token
    latents = ((frames - 1) // 4 + 1, height // factor, width // factor)
    tokens = latents[0] * (latents[1] // 2) * (latents[2] // 2)
    each = model.latent_channels != FEW_CHANNELS  # every token has a time of its own
    return {
        "hidden_states": torch.randn(1, CHANNELS.get(name, (16, 16))[0], *latents, dtype=torch.bfloat16, device=device),
        "timestep": torch.full((1, tokens) if each else (1,), 900.0, device=device),
        "encoder_hidden_states": embedding(shape).to(device),
    }


def vae_of_48(shape: Shape) -> AutoencoderKLWan:
    """Return Wan 2.2's VAE, whose latents have 48 channels, in fp32."""
    small = {"base_dim": 4, "decoder_base_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    return AutoencoderKLWan(
        **(small if shape == "tiny" else {"base_dim": 160, "decoder_base_dim": 256}),
        z_dim=48,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )


def _vace_config(shape: Shape) -> dict[str, Any]:
    return SHAPES[shape] | {"vace_layers": VACE_LAYERS[shape], "vace_in_channels": VACE_CHANNELS}


def vae(shape: Shape) -> AutoencoderKLWan:
    """Return the VAE, which both sizes share, in fp32."""
    return AutoencoderKLWan(base_dim=3, num_res_blocks=1) if shape == "tiny" else AutoencoderKLWan()


def embedding(shape: Shape) -> Tensor:
    """Return an encoded text, (1, 512, features)."""
    return torch.randn(1, 512, SHAPES[shape].get("text_dim", 4096), dtype=torch.bfloat16)


def _filled(kind: Any, config: dict[str, Any], dtype: torch.dtype, device: torch.device = _HOST) -> Any:
    """Build a network without memory, then allocate each parameter in the precision in which it is loaded."""
    with init_empty_weights(include_buffers=False):
        network = kind(**config)
    block = torch.randn(BLOCK, device=device) * SPREAD
    fp32 = kind._keep_in_fp32_modules or []  # noqa: SLF001  # what from_pretrained reads, too
    for name, parameter in list(network.named_parameters()):
        precision = torch.float32 if any(part in name.split(".") for part in fp32) else dtype
        values = torch.empty(parameter.shape, dtype=precision, device=device)
        flat = values.view(-1)
        for begin in range(0, flat.numel(), BLOCK):
            flat[begin : begin + BLOCK].copy_(block[: flat.numel() - begin])
        set_module_tensor_to_device(network, name, device, value=values, dtype=precision)
    return network.to(device).eval()
