"""Turn published weights into one safetensors file: the only format that a network of ours is loaded from."""

from pathlib import Path
from typing import Any, Literal

Conversion = Literal["ncnn-srvgg", "ncnn-rrdb", "torch"]
CONVERTED = "weights.safetensors"
CONVERTER_VERSION = 1  # increase it when a conversion's output changes: stored copies are then made again


def convert(conversion: Conversion, originals: list[Path], target: Path) -> None:
    """Write `originals` as safetensors, each tensor in the precision it was published in.

    "ncnn-…": a .param and a .bin. "torch": one pickle, read with weights_only; the wrappers that training adds
    (`params_ema`, `params`, `module.`) are removed and RIFE's teacher (`block_tea`), which only training uses, is
    left out.
    """
    if conversion == "torch":
        _convert_pickle(originals[0], target)
    else:
        _convert_ncnn(conversion, originals, target)


def _convert_ncnn(conversion: Conversion, originals: list[Path], target: Path) -> None:
    from safetensors.numpy import save_file  # noqa: PLC0415  # only a pull needs it

    from shared.networks.ncnn_weights import read_layers, rrdb_state, srvgg_state  # noqa: PLC0415

    param, binary = originals
    layers = list(read_layers(param.read_text(encoding="ascii"), binary.read_bytes()))
    save_file(srvgg_state(layers) if conversion == "ncnn-srvgg" else rrdb_state(layers), target)


def _convert_pickle(original: Path, target: Path) -> None:
    import torch  # noqa: PLC0415  # it takes a second, which only this conversion needs
    from safetensors.torch import save_file  # noqa: PLC0415

    loaded: dict[str, Any] = torch.load(original, map_location="cpu", weights_only=True)
    state = loaded.get("params_ema") or loaded.get("params") or loaded
    kept = {name.removeprefix("module."): tensor.contiguous() for name, tensor in state.items()}
    save_file({name: tensor for name, tensor in kept.items() if not name.startswith("block_tea.")}, target)
