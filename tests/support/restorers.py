"""Small ONNX files with the interface of the published restorers, whose detail is known."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.facefusion.model import FaceModel
from services.facefusion.restoration.restorer import Interface, Restorer
from services.facefusion.restoration.restorers import RESTORERS
from tests.support.faces import model

GFPGAN = RESTORERS["gfpgan-1.4"]
EVEN = 0.1  # of the range -1 to 1: what `lighter` adds everywhere
NOISE = 0.15, 900.0  # amplitude and frequency of `noisy`: a level more in a pixel turns it about once


def write(
    path: Path, nodes: list[onnx.NodeProto], weights: Mapping[str, object], side: int = 512, **extra: int
) -> Path:
    """Write a network with the picture `input`, `extra` inputs of one number by their type, and `output`."""
    shape = [1, 3, side, side]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)]
    inputs += [helper.make_tensor_value_info(name, kind, [1]) for name, kind in extra.items()]
    constants = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def same(folder: Path) -> Restorer:
    """The picture as it came."""
    path = write(folder / "same.onnx", [helper.make_node("Identity", ["input"], ["output"])], {})
    return Restorer("same", path, GFPGAN)


def lighter(folder: Path, side: int = 512, interface: Interface = GFPGAN) -> Restorer:
    """The picture, lighter by `EVEN`."""
    nodes = [helper.make_node("Add", ["input", "even"], ["output"])]
    return Restorer("lighter", write(folder / "lighter.onnx", nodes, {"even": EVEN}, side), interface)


def noisy(folder: Path) -> Restorer:
    """The picture with detail that is another wherever a pixel has changed a little, as what a network makes up."""
    nodes = [
        helper.make_node("Mul", ["input", "often"], ["turns"]),
        helper.make_node("Sin", ["turns"], ["waves"]),
        helper.make_node("Mul", ["waves", "high"], ["noise"]),
        helper.make_node("Add", ["input", "noise"], ["output"]),
    ]
    path = write(folder / "noisy.onnx", nodes, {"high": NOISE[0], "often": NOISE[1]})
    return Restorer("noisy", path, GFPGAN)


def model_with(restorer: Restorer | None) -> FaceModel:
    """The embedded default, where this restorer was pulled and tasks must ask for it."""
    return replace(model(), restorer=lambda asked: restorer if asked else None)
