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
PAIR_BLOCKS = 2  # of each of the tiny transformers of A14B
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
    """Return every tensor of a step distillation of Wan 2.1's text-to-video, the same random values each time.

    As in LightX2V's file of 631,344,264 bytes, whose size these tensors account for: two matrices and the difference
    of the bias for each linear layer, and whole differences of the norms and of the patch embedding.
    """
    generator = torch.Generator().manual_seed(9)

    def drawn(*shape: int) -> Tensor:
        return SPREAD * torch.randn(shape, generator=generator)

    linear = _in_blocks(blocks) | AROUND
    state: dict[str, Tensor] = {}
    for name, (inputs, outputs) in linear.items():
        state |= {f"{name}.lora_down.weight": drawn(RANK, inputs), f"{name}.lora_up.weight": drawn(outputs, RANK)}
        state[f"{name}.diff_b"] = drawn(outputs)
    for index in range(blocks):
        state |= {f"blocks.{index}.{norm}.diff": drawn(WIDTH) for norm in NORMS}
        state[f"blocks.{index}.norm3.diff_b"] = drawn(WIDTH)
    state |= {"patch_embedding.diff": drawn(WIDTH, *PATCH), "patch_embedding.diff_b": drawn(WIDTH)}
    return {f"diffusion_model.{name}": tensor.bfloat16() for name, tensor in state.items()}


def lightning_lora(blocks: int, seed: int) -> dict[str, Tensor]:
    """Return every tensor of one of Wan2.2-Lightning's pair: two matrices in fp32 and alpha a layer of the blocks.

    At rank 64 and the sizes of A14B that is 1.23 GB, as published.
    """
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for name, (inputs, outputs) in _in_blocks(blocks).items():
        for part, shape in (("lora_down", (RANK, inputs)), ("lora_up", (outputs, RANK))):
            state[f"{name}.{part}.weight"] = SPREAD * torch.randn(shape, generator=generator)
        state[f"{name}.alpha"] = torch.tensor(float(RANK))
    return {f"diffusion_model.{name}": tensor for name, tensor in state.items()}


def _in_blocks(blocks: int) -> dict[str, tuple[int, int]]:
    return {f"blocks.{index}.{name}": size for index in range(blocks) for name, size in IN_BLOCKS.items()}


def pulled_loras(monkeypatch: pytest.MonkeyPatch, *, blocks: int = 4) -> None:
    """Have the LoRAs of the plan `fast` be pulled, in miniature, into the store of a test."""
    known: dict[str, Any] = dict(weights.entries())
    for name in ("wan-fast-1.3b", "wan-fast-14b"):
        _fill(known[name], {known[name].main_file: published_lora(blocks)})
    for name in ("wan-fast-t2v-a14b", "wan-fast-i2v-a14b"):
        pair = enumerate(known[name].loras)
        _fill(known[name], {file: lightning_lora(PAIR_BLOCKS, seed) for seed, file in pair})
    use_catalogue(monkeypatch, known)


def _fill(entry: weights.Entry, files: dict[str, dict[str, Tensor]]) -> None:
    def write(folder: Path) -> list[str]:
        for name, state in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            save_file(state, folder / name)
        return list(files)

    StoredModel(entry.tag).fill(write, labels={}, origin="a test")
