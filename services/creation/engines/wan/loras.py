"""LoRAs of the operator's own, fused into a transformer's weights when it is loaded: no step gets slower by them."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline
from safetensors import SafetensorError
from torch import Tensor, nn

from shared.errors import JobFailed
from shared.settings import Settings

KEY = re.compile(r"(?:transformer\.)?(?P<layer>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_B\.bias)")
SCALE = "lora_alpha", "r"  # of a file's metadata: what a LoRA is multiplied by is the first over the second


@dataclass(frozen=True)
class Change:
    """What a LoRA adds to one layer: `up` times `down`, and to its bias."""

    layer: str
    down: Tensor  # (rank, inputs)
    up: Tensor  # (outputs, rank)
    bias: Tensor | None


def named_loras(settings: Settings) -> dict[str, list[str]]:
    """Return the files with their weights for a task's details, without the folders of this machine."""
    named = [f"{path.name} {weight:g}" for path, weight in settings.creation.loras]
    return {"loras": named} if named else {}


@torch.no_grad()
def fuse_loras(transformer: nn.Module, loras: Sequence[tuple[Path, float]]) -> None:
    """Add each LoRA, times its weight, to the weights of the layers that it names.

    Takes the names of diffusers, of Wan's own code and of musubi-tuner. Raises JobFailed, with the file's name and the
    reason, where one is missing or unreadable, or holds anything that this transformer has no place for: then nothing
    of it has been added.
    """
    layers = dict(transformer.named_modules())
    for path, weight in loras:
        scale, changes = _read(path)
        for change in changes:
            _check(path, change, layers.get(change.layer))
        for change in changes:
            layer = layers[change.layer]
            _add(layer.weight, weight * scale * (change.up.float().flatten(1) @ change.down.float().flatten(1)))
            if change.bias is not None:
                _add(layer.bias, weight * change.bias.float())


def _read(path: Path) -> tuple[float, list[Change]]:
    """Return by what the changes are to be multiplied, and the changes."""
    if not path.is_file():
        raise _refused(path, "there is no such file")
    try:
        state, metadata = WanPipeline.lora_state_dict(
            str(path.parent),
            weight_name=path.name,
            local_files_only=True,
            use_safetensors=True,
            return_lora_metadata=True,
        )
    except (ValueError, KeyError, OSError, SafetensorError) as error:
        raise _refused(path, (str(error) or type(error).__name__).splitlines()[0]) from error
    return _scale(path, metadata or {}), list(_changes(path, state))


def _scale(path: Path, metadata: Mapping[str, Any]) -> float:
    own = {name.removeprefix("transformer."): value for name, value in metadata.items()}
    if own.get("alpha_pattern") or own.get("rank_pattern"):
        raise _refused(path, "its layers have scales of their own")
    alpha, rank = (own.get(name) for name in SCALE)
    if not alpha or not rank:  # already in the weights
        return 1.0
    return float(alpha / math.sqrt(rank) if own.get("use_rslora") else alpha / rank)


def _changes(path: Path, state: Mapping[str, Tensor]) -> Iterator[Change]:
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        match = KEY.fullmatch(name)
        if match is None:
            raise _refused(path, f"{name} is nothing that can be fused")
        found.setdefault(match["layer"], {})[match["part"]] = tensor
    if not found:
        raise _refused(path, "it holds no LoRA")
    for layer, parts in found.items():
        down, up = parts.get("lora_A.weight"), parts.get("lora_B.weight")
        if down is None or up is None:
            raise _refused(path, f"{layer} has one of its two matrices only")
        yield Change(layer, down, up, parts.get("lora_B.bias"))


def _check(path: Path, change: Change, layer: nn.Module | None) -> None:
    """Raise JobFailed unless the layer exists and the change has its size."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise _refused(path, f"the model has no layer {change.layer}")
    outputs, inputs = weight.flatten(1).shape if weight.ndim > 1 else (len(weight), 0)
    (ups, rank), (ranks, downs) = change.up.flatten(1).shape, change.down.flatten(1).shape
    bias = getattr(layer, "bias", None)
    fits = change.bias is None or (isinstance(bias, Tensor) and bias.shape == change.bias.shape)
    if (ups, downs, rank) != (outputs, inputs, ranks) or not fits:
        raise _refused(path, f"{change.layer} has another size: it was made for another model")


def _add(parameter: Tensor, change: Tensor) -> None:
    """Add in fp32, whatever the weights are stored in."""
    parameter.copy_(parameter.float() + change.to(parameter.device).view_as(parameter))


def _refused(path: Path, reason: str) -> JobFailed:
    return JobFailed("creation_lora_refused", file=path.name, reason=reason)
