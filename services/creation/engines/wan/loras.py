"""LoRAs, fused into a transformer's weights when it is loaded: no step gets slower by them.

Files are read by our own names and not by those of diffusers 0.42.1, which passes over the differences of norms and of
the patch embedding that a step distillation holds.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from services.creation.engines.wan.lora_file import Change, check_file, read_changes, refused
from shared.settings import Settings

VACE_BLOCKS = "vace_blocks."

logger = logging.getLogger("bentoml.kinora.wan")


def named_loras(settings: Settings) -> dict[str, list[str]]:
    """Return the operator's files with their weights for a task's details, without the folders of this machine."""
    named = [f"{path.name} {weight:g}" for path, weight in settings.creation.loras]
    return {"loras": named} if named else {}


def check_loras(loras: Sequence[tuple[Path, float]]) -> None:
    """Raise JobFailed, with its name, for a file that is missing or not whole: before gigabytes are loaded."""
    for path, _ in loras:
        check_file(path)


@torch.no_grad()
def fuse_loras(transformer: nn.Module, loras: Sequence[tuple[Path, float]]) -> None:
    """Add each LoRA, times its weight, to the weights of the layers that it names.

    Takes the names of diffusers, of Wan's own code and of musubi-tuner. Raises JobFailed, with the file's name and the
    reason, where one is missing or unreadable, or holds anything that this transformer has no place for: then nothing
    of it has been added.
    """
    parameters = dict(transformer.named_parameters())
    layers = _layers(parameters)
    for path, weight in loras:
        changes = read_changes(path, list(layers))
        for change in changes:
            _check(path, change, layers[change.layer])
        for change in changes:
            targets = layers[change.layer]
            for part, added in (("weight", change.of_weight()), ("bias", change.bias)):
                if added is not None:
                    _add(targets[part], weight * added.float())
        _tell(path, changes, transformer)


def _layers(parameters: Mapping[str, nn.Parameter]) -> dict[str, dict[str, nn.Parameter]]:
    """Return weight and bias of each layer; a parameter without a layer of its own is the weight of one."""
    layers: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in parameters.items():
        layer, _, part = name.rpartition(".")
        if part in {"weight", "bias"}:
            layers.setdefault(layer, {})[part] = parameter
        else:
            layers[name] = {"weight": parameter}
    return layers


def _check(path: Path, change: Change, targets: Mapping[str, Tensor]) -> None:
    """Raise JobFailed unless the change has the size of its layer."""
    weight = targets["weight"]
    fits = change.weight is None or change.weight.shape == weight.shape
    if change.down is not None and change.up is not None:
        outputs, inputs = weight.flatten(1).shape if weight.ndim > 1 else (len(weight), 0)
        (ups, rank), (ranks, downs) = change.up.flatten(1).shape, change.down.flatten(1).shape
        fits = fits and (ups, downs, rank) == (outputs, inputs, ranks)
    if change.bias is not None:
        fits = fits and "bias" in targets and targets["bias"].shape == change.bias.shape
    if not fits:
        raise refused(path, f"{change.layer} has another size: it was made for another model")


def _add(parameter: Tensor, change: Tensor) -> None:
    """Add in fp32, whatever the weights are stored in."""
    parameter.copy_(parameter.float() + change.to(parameter.device).view_as(parameter))


def _tell(path: Path, changes: Sequence[Change], transformer: nn.Module) -> None:
    """Log how much of a transformer a LoRA covers: one for text-to-video knows no blocks of VACE."""
    touched = {change.layer.split(".")[1] for change in changes if change.layer.startswith(VACE_BLOCKS)}
    blocks = len(getattr(transformer, "vace_blocks", ()))
    of_vace = f"; {len(touched)} of {blocks} VACE blocks" if blocks else ""
    logger.info("%s changes %d layers%s", path.name, len(changes), of_vace)
