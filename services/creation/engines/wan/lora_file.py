"""A LoRA's file as changes of layers, every tensor of it accounted for."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from services.creation.engines.wan.lora_names import layers_by_name, without_prefix
from shared.errors import JobFailed
from shared.weights.diffusers_layout import tensors_of

METADATA = "lora_adapter_metadata"  # where diffusers writes the settings of a training, as JSON
KEY = re.compile(
    r"(?P<layer>.+?)\.(?:(?P<down>(?:lora_A|lora_down)(?:\.default)?\.weight)|(?P<up>(?:lora_B|lora_up)(?:\.default)?\.weight)"
    r"|(?P<bias>lora_B(?:\.default)?\.bias|diff_b)|(?P<weight>diff)|(?P<alpha>alpha))"
)


@dataclass(frozen=True)
class Change:
    """What a LoRA adds to one layer: `scale` times `up` times `down`, and whole differences of its weight and bias."""

    layer: str
    scale: float = 1.0
    down: Tensor | None = None  # (rank, inputs)
    up: Tensor | None = None  # (outputs, rank)
    weight: Tensor | None = None
    bias: Tensor | None = None

    def of_weight(self) -> Tensor | None:
        """Return what is added to the weight, in fp32; its shape may be a flat one of the same order."""
        product = None
        if self.up is not None and self.down is not None:
            product = self.scale * (self.up.float().flatten(1) @ self.down.float().flatten(1))
        if self.weight is None:
            return product
        return self.weight.float() if product is None else product + self.weight.float().view_as(product)


def check_file(path: Path) -> None:
    """Raise JobFailed, with the file's name and the reason, for one that is missing or not whole; reads its header."""
    if not path.is_file():
        raise refused(path, "there is no such file")
    if tensors_of(path) is None:
        raise refused(path, "it is cut off, or no safetensors file")


def read_changes(path: Path, layers: list[str]) -> list[Change]:
    """Return what a file changes in a transformer with these layers.

    Raises JobFailed, with the file's name and the reason, where it is missing or unreadable, or holds anything that is
    no LoRA's, or names another layer.
    """
    check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
            scale = _scale(path, file.metadata() or {})
    except (ValueError, OSError, SafetensorError) as error:
        raise refused(path, (str(error) or type(error).__name__).splitlines()[0]) from error
    by_name = layers_by_name(layers, state)
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        match = KEY.fullmatch(without_prefix(key))
        if match is None:
            raise refused(path, f"{key} is nothing that can be fused")
        if match["layer"] not in by_name:
            raise refused(path, f"the model has no layer {match['layer']}")
        (part,) = (name for name, value in match.groupdict().items() if value and name != "layer")
        found.setdefault(by_name[match["layer"]], {})[part] = tensor
    if not found:
        raise refused(path, "it holds no LoRA")
    return [_change(path, layer, parts, scale) for layer, parts in found.items()]


def refused(path: Path, reason: str) -> JobFailed:
    return JobFailed("creation_lora_refused", file=path.name, reason=reason)


def _change(path: Path, layer: str, parts: dict[str, Tensor], scale: float) -> Change:
    if ("down" in parts) != ("up" in parts):
        raise refused(path, f"{layer} has one of its two matrices only")
    alpha = parts.pop("alpha", None)
    if not parts:
        raise refused(path, f"{layer} has a scale only")
    if alpha is not None and "down" in parts:
        scale = float(alpha) / len(parts["down"])
    if not all(bool(torch.isfinite(tensor.float()).all()) for tensor in parts.values()):
        raise refused(path, f"{layer} has values that are not numbers (NaN or infinite)")
    return Change(layer, scale, **parts)


def _scale(path: Path, metadata: Mapping[str, str]) -> float:
    """Return by what a file's products are multiplied where it has no scale for each layer: alpha over rank."""
    settings: dict[str, Any] = json.loads(metadata.get(METADATA) or "{}")
    own = {name.removeprefix("transformer."): value for name, value in settings.items()}
    if own.get("alpha_pattern") or own.get("rank_pattern"):
        raise refused(path, "its layers have scales of their own")
    alpha, rank = own.get("lora_alpha"), own.get("r")
    if not alpha or not rank:  # already in the weights
        return 1.0
    return float(alpha / math.sqrt(rank) if own.get("use_rslora") else alpha / rank)
