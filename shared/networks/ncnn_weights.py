"""Read the weights of an ncnn model: its text graph (`.param`) and its raw numbers (`.bin`).

Only what Real-ESRGAN's networks hold is understood: Convolution and PReLU, in the order of the graph. In the .bin a
convolution's weights follow a tag (0x01306B47: fp16, padded to 4 bytes; 0: fp32), its bias and PReLU's slopes are
plain fp32 (ncnn's wiki, "param and model file structure").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

FP16_TAG = 0x01306B47
MAGIC = "7767517"

Array = npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Convolution:
    """`weight` (out, in, height, width), fp16 or fp32 as published; `bias` (out,) fp32."""

    weight: Array
    bias: npt.NDArray[np.float32]


@dataclass(frozen=True)
class PReLU:
    """`slope` (channels,) fp32."""

    slope: npt.NDArray[np.float32]


def read_layers(param: str, binary: bytes) -> Iterator[Convolution | PReLU]:
    """Yield the layers that hold weights, in the order of the graph; ValueError where the two files disagree."""
    lines = param.splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise ValueError("not an ncnn .param file")
    offset = 0

    def take(count: int, dtype: type[np.float16 | np.float32]) -> Array:
        nonlocal offset
        values = np.frombuffer(binary, dtype, count, offset)
        offset += -(-values.nbytes // 4) * 4
        return cast("Array", values)

    for line in lines[2:]:
        kind, _name, inputs, outputs, *rest = line.split()
        options = dict(item.split("=") for item in rest[int(inputs) + int(outputs) :])
        if kind == "Convolution":
            out_channels, kernel, weights = int(options["0"]), int(options["1"]), int(options["6"])
            tag = int.from_bytes(binary[offset : offset + 4], "little")
            if tag not in {0, FP16_TAG}:
                raise ValueError(f"unknown weight format {tag:#x}")
            offset += 4
            weight = take(weights, np.float16 if tag else np.float32)
            shape = (out_channels, weights // out_channels // kernel**2, kernel, kernel)
            bias = take(out_channels, np.float32) if options.get("5") == "1" else np.zeros(out_channels, np.float32)
            yield Convolution(weight.reshape(shape), bias.astype(np.float32, copy=False))
        elif kind == "PReLU":
            yield PReLU(take(int(options["0"]), np.float32).astype(np.float32, copy=False))
    if offset != len(binary):
        raise ValueError(f"{len(binary) - offset} bytes are left over")


def srvgg_state(layers: list[Convolution | PReLU]) -> dict[str, Array]:
    """Name the layers of a compact network as `SRVGG` does: `body.0` conv, `body.1` PReLU, `body.2` conv …"""
    state: dict[str, Array] = {}
    for index, layer in enumerate(layers):
        if isinstance(layer, Convolution):
            state |= {f"body.{index}.weight": layer.weight, f"body.{index}.bias": layer.bias}
        else:
            state[f"body.{index}.weight"] = layer.slope
    return state


def rrdb_state(layers: list[Convolution | PReLU]) -> dict[str, Array]:
    """Name the convolutions of a residual-in-residual network as `RRDB` does."""
    blocks, rest = divmod(len(layers) - 6, 15)
    if rest:
        raise ValueError(f"{len(layers)} convolutions are no RRDB network")
    dense = [f"body.{b}.rdb{r}.conv{c}" for b in range(blocks) for r in (1, 2, 3) for c in (1, 2, 3, 4, 5)]
    names = ["conv_first", *dense, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    state: dict[str, Array] = {}
    for name, layer in zip(names, layers, strict=True):
        if not isinstance(layer, Convolution):
            raise ValueError(f"{name} is no convolution")  # noqa: TRY004  # a wrong file, not a wrong call
        state |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    return state
