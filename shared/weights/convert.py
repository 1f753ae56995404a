"""Turn published weights into one safetensors file: the only format that a network of ours is loaded from."""

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Conversion = Literal["ncnn-srvgg", "ncnn-rrdb", "torch"]
SAFETENSORS = ".safetensors"
CONVERTED = f"weights{SAFETENSORS}"
CONVERTER_VERSION = 1  # increase it when a conversion's output changes: stored copies are then made again


class UnreadableWeights(Exception):
    """A file that holds no tensors by name, or something else beside them."""


def convert(conversion: Conversion, originals: list[Path], target: Path) -> None:
    """Write `originals` as safetensors, each tensor in the precision it was published in.

    "ncnn-…": a .param and a .bin. "torch": one file as `read_tensors` takes it. Raises UnreadableWeights as that does.
    """
    if conversion == "torch":
        _convert_tensors(originals[0], target)
    else:
        _convert_ncnn(conversion, originals, target)


def _convert_ncnn(conversion: Conversion, originals: list[Path], target: Path) -> None:
    from safetensors.numpy import save_file  # noqa: PLC0415  # only a pull needs it

    from shared.networks.ncnn_weights import read_layers, rrdb_state, srvgg_state  # noqa: PLC0415

    param, binary = originals
    layers = list(read_layers(param.read_text(encoding="ascii"), binary.read_bytes()))
    save_file(srvgg_state(layers) if conversion == "ncnn-srvgg" else rrdb_state(layers), target)


def _convert_tensors(original: Path, target: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415  # torch takes a second, which only this conversion needs

    save_file(read_tensors(original), target)


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Return the tensors by name, on the CPU, of a .safetensors or of a pickle, which is read with weights_only.

    The wrappers that training adds (`params_ema`, `params`, `module.`) are removed, and RIFE's teacher (`block_tea`),
    which only training uses, is left out. Raises UnreadableWeights, in a few words, for a file that is neither or
    would run code.
    """
    import torch  # noqa: PLC0415  # see above
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        if path.suffix == SAFETENSORS:
            loaded: dict[str, Any] = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        state = loaded.get("params_ema") or loaded.get("params") or loaded
        kept = {name.removeprefix("module."): tensor.contiguous() for name, tensor in state.items()}
    except OSError as error:
        raise UnreadableWeights(error.strerror or "it cannot be opened") from error
    except UnpicklingError as error:
        raise UnreadableWeights("Weights only load failed: it is no pickle of tensors alone") from error
    except (RuntimeError, EOFError, AttributeError, SafetensorError) as error:
        raise UnreadableWeights("it is no file of named tensors") from error
    return {name: tensor for name, tensor in kept.items() if not name.startswith("block_tea.")}
