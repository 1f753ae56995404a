"""The gates of video sparse attention that FastWan was distilled with: read beside a transformer, which lacks them.

diffusers' `WanTransformer3DModel` has no place for them and leaves them in the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from safetensors import safe_open
from torch import Tensor, nn

from services.creation.engines.wan.tile_attention import Tiles, gated_attention
from shared.errors import JobFailed

GATE = "to_gate_compress"  # in the file: blocks.N.to_gate_compress.weight and .bias


def add_gates(transformer: WanTransformer3DModel, folder: Path) -> bool:
    """Give the self-attention of every block the gate that the transformer's folder holds; False where it holds none.

    Raises JobFailed where only some blocks have one, or one has another size.
    """
    gates = _read(folder)
    if gates:
        give_gates(transformer, gates, folder.parent.name)
    return bool(gates)


def give_gates(transformer: WanTransformer3DModel, gates: Mapping[str, Tensor], title: str) -> None:
    """Give every block's self-attention its gate; raise JobFailed, with the model's title, as `add_gates` does."""
    blocks = list(transformer.blocks)
    expected = {f"blocks.{index}.{GATE}.{part}" for index in range(len(blocks)) for part in ("weight", "bias")}
    if wrong := sorted(expected ^ set(gates)):
        raise _broken(title, f"gates of {len(blocks)} blocks are expected, {wrong[0]} is one too many or too few")
    grid = TokenGrid(transformer)
    for index, block in enumerate(blocks):
        like: nn.Linear = block.attn1.to_q
        gate = nn.Linear(like.in_features, like.out_features, device="meta")
        state = {part: gates[f"blocks.{index}.{GATE}.{part}"].to(like.weight.dtype) for part in ("weight", "bias")}
        try:
            gate.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise _broken(title, f"blocks.{index}.{GATE} has another size") from error
        block.attn1.add_module(GATE, gate.requires_grad_(requires_grad=False))
        block.attn1.set_processor(GatedProcessor(grid))


class TokenGrid:
    """The tiles of the clip that a transformer is given, which its blocks see as a mere row of tokens."""

    def __init__(self, transformer: WanTransformer3DModel) -> None:
        self.tiles: Tiles
        self._patch = transformer.config.patch_size
        self._divided: tuple[tuple[int, ...], torch.device] | None = None
        transformer.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _transformer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        latents: Tensor = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        time, height, width = (length // side for length, side in zip(latents.shape[2:], self._patch, strict=True))
        if self._divided != ((time, height, width), latents.device):
            self.tiles = Tiles.of((time, height, width), latents.device)
            self._divided = (time, height, width), latents.device


class GatedProcessor:
    """Self-attention of a `WanAttention` that has a gate."""

    def __init__(self, grid: TokenGrid) -> None:
        self._grid = grid

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the tokens (batch, tokens, features) after attention; they attend to themselves, all of them."""
        del encoder_hidden_states, attention_mask  # of cross-attention, which keeps its own processor
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(hidden_states))
        value, gate = attn.to_v(hidden_states), attn.to_gate_compress(hidden_states)
        query, key, value, gate = (tokens.unflatten(2, (attn.heads, -1)) for tokens in (query, key, value, gate))
        if rotary_emb is not None:
            query, key = rotated(query, *rotary_emb), rotated(key, *rotary_emb)
        found = gated_attention(query, key, value, gate, self._grid.tiles)
        to_out, dropout = attn.to_out
        output: Tensor = dropout(to_out(found.flatten(2)))
        return output


def rotated(tokens: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate each pair of neighbouring features by its angle; the angles are given once for each feature."""
    first, second = tokens[..., 0::2], tokens[..., 1::2]
    cos, sin = cosines[..., 0::2], sines[..., 1::2]
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.flatten(-2).type_as(tokens)


def _read(folder: Path) -> dict[str, Tensor]:
    gates: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            gates |= {name: file.get_tensor(name) for name in file.keys() if f".{GATE}." in name}  # noqa: SIM118  # no mapping
    return gates


def _broken(title: str, reason: str) -> JobFailed:
    return JobFailed("creation_model_broken", model=title, reasons=reason)
