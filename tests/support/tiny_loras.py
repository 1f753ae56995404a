"""Step distillations as LoRAs in miniature: the published files' key names, the sizes of the tiny transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shared import weights
from shared.weights.model_store import StoredModel
from tests.support.tiny_wan import TRANSFORMER
from tests.support.weights import use_catalogue

RANK = 2
WIDTH = TRANSFORMER["num_attention_heads"] * TRANSFORMER["attention_head_dim"]
PATCH = (16, 1, 2, 2)  # of a latent: channels, frames, height, width
SPREAD = 0.05

# Linear layers by their names in Wan's own code, with inputs and outputs; `blocks.N.` stands before the first group.
IN_BLOCKS: dict[str, tuple[int, int]] = {
    **{f"{attention}.{name}": (WIDTH, WIDTH) for attention in ("self_attn", "cross_attn") for name in "qkvo"},
    "ffn.0": (WIDTH, TRANSFORMER["ffn_dim"]),
    "ffn.2": (TRANSFORMER["ffn_dim"], WIDTH),
}
AROUND: dict[str, tuple[int, int]] = {
    "text_embedding.0": (TRANSFORMER["text_dim"], WIDTH),
    "text_embedding.2": (WIDTH, WIDTH),
    "time_embedding.0": (TRANSFORMER["freq_dim"], WIDTH),
    "time_embedding.2": (WIDTH, WIDTH),
    "time_projection.1": (WIDTH, 6 * WIDTH),
    "head.head": (WIDTH, 16 * 4),
}
NORMS = ("self_attn.norm_q", "self_attn.norm_k", "cross_attn.norm_q", "cross_attn.norm_k", "norm3")


def published_lora(blocks: int) -> dict[str, Tensor]:
    """Return every tensor of a step distillation of text-to-video, the same random values each time.

    As in LightX2V's file of 631,344,264 bytes, whose size these tensors account for: two matrices and the difference
    of the bias for each linear layer, and whole differences of the norms and of the patch embedding.
    """
    generator = torch.Generator().manual_seed(9)

    def drawn(*shape: int) -> Tensor:
        return SPREAD * torch.randn(shape, generator=generator)

    linear = {f"blocks.{index}.{name}": size for index in range(blocks) for name, size in IN_BLOCKS.items()} | AROUND
    state: dict[str, Tensor] = {}
    for name, (inputs, outputs) in linear.items():
        state |= {f"{name}.lora_down.weight": drawn(RANK, inputs), f"{name}.lora_up.weight": drawn(outputs, RANK)}
        state[f"{name}.diff_b"] = drawn(outputs)
    for index in range(blocks):
        state |= {f"blocks.{index}.{norm}.diff": drawn(WIDTH) for norm in NORMS}
        state[f"blocks.{index}.norm3.diff_b"] = drawn(WIDTH)
    state |= {"patch_embedding.diff": drawn(WIDTH, *PATCH), "patch_embedding.diff_b": drawn(WIDTH)}
    return {f"diffusion_model.{name}": tensor.bfloat16() for name, tensor in state.items()}


def pulled_loras(monkeypatch: pytest.MonkeyPatch, *, blocks: int = 4) -> None:
    """Have the LoRAs of the plan `fast` be pulled, in miniature, into the store of a test."""
    known: dict[str, Any] = dict(weights.entries())
    for name in ("wan-fast-1.3b", "wan-fast-14b"):
        entry = known[name]
        (repository,) = entry.hub

        def write(folder: Path, file: str = repository.files[0]) -> list[str]:
            save_file(published_lora(blocks), folder / file)
            return [file]

        StoredModel(entry.tag).fill(write, labels={}, origin="a test")
    use_catalogue(monkeypatch, known)
