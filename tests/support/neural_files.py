"""Small ONNX files with the interfaces of the published ones: their names, shapes and scalings, and hardly a weight."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.facefusion.face import Float
from services.facefusion.neural.swappers import SwapperRow

EMAP: Float = np.random.default_rng(3).normal(size=(512, 512)).astype(np.float32)
PATTERN: Float = np.random.default_rng(1).normal(size=(3, 512)).astype(np.float32)
STRIDES = (8, 16, 32)
SIDE = 640  # of the detector's picture


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, list[int | str]],
    outputs: Mapping[str, list[int]],
    **weights: object,
) -> Path:
    """Write a graph; weights become initializers in the order given."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def scrfd(path: Path, box: Float, landmarks5: Float, score: float = 0.9) -> Path:
    """det_10g: `input.1` [1, 3, ?, ?] to nine outputs; whatever it sees, a face at these pixels of its 640 x 640."""
    weights: dict[str, object] = {"nothing": np.float32(0)}
    stride = 16
    column, row = (int(value) // stride for value in (box[:2] + box[2:]) / 2)
    anchor = np.array([column, row], np.float32) * stride
    for step in STRIDES:
        cells = (SIDE // step) ** 2 * 2
        parts = {kind: np.zeros((cells, width), np.float32) for kind, width in (("s", 1), ("b", 4), ("k", 10))}
        if step == stride:
            index = (row * (SIDE // stride) + column) * 2
            parts["s"][index] = score
            parts["b"][index] = np.concatenate([anchor - box[:2], box[2:] - anchor]) / stride
            parts["k"][index] = (landmarks5 - anchor).reshape(-1) / stride
        weights |= {f"{kind}{step}": part for kind, part in parts.items()}
    names = [f"{kind}{step}" for kind in "sbk" for step in STRIDES]
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        *(helper.make_node("Add", [name, "zero"], [f"out_{name}"]) for name in names),
    ]
    shapes = {f"out_{name}": list(np.asarray(weights[name]).shape) for name in names}
    return write(path, nodes, {"input.1": [1, 3, "height", "width"]}, shapes, **weights)


def arcface(path: Path) -> Path:
    """w600k_r50: `input.1` [n, 3, 112, 112] to `683` [n, 512]: the picture's mean colour, spread out, of any length."""
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "pattern"], ["683"]),
    ]
    return write(path, nodes, {"input.1": [1, 3, 112, 112]}, {"683": [1, 512]}, pattern=PATTERN)


def genderage(path: Path, *, male: bool, years: int) -> Path:
    """genderage: `data` [1, 3, 96, 96] to `fc1` [1, 3]: female, male, a hundredth of the years."""
    found = np.array([[0, 1] if male else [1, 0]], np.float32)
    answer = np.concatenate([found, [[years / 100]]], 1).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["answer", "zero"], ["fc1"]),
    ]
    return write(path, nodes, {"data": [1, 3, 96, 96]}, {"fc1": [1, 3]}, answer=answer, nothing=np.float32(0))


def swapper(path: Path, row: SwapperRow, *, emap: str = "buff2fs", inverted: bool = True, last: bool = False) -> Path:
    """A row of the table: `target` and `source` to the inverted chip, or to the chip itself, in the row's range.

    hyperswap's mask is a second output. An inswapper's emap is the last initializer only where `last` says so.
    """
    nodes = [
        helper.make_node("Mul", ["target", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["moved"]),
        helper.make_node("ReduceMean", ["source"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["moved", "zero"], ["output"]),
    ]
    outputs = {"output": [1, 3, row.side, row.side]}
    mean, deviation = row.mean.reshape(1, 3, 1, 1), row.deviation.reshape(1, 3, 1, 1)
    scale, shift = (deviation, mean) if row.output == "0-1" else (np.ones_like(mean), np.zeros_like(mean))
    if inverted:  # 1 - x, of the input's range back to 0-1, and into the output's
        scale, shift = -scale, (1 - shift if row.output == "0-1" else (1 - 2 * mean) / deviation)
    if row.name.startswith("hyperswap"):
        nodes.append(helper.make_node("ReduceMean", ["output"], ["mask"], axes=[1], keepdims=1))
        outputs["mask"] = [1, 1, row.side, row.side]
    weights: dict[str, object] = {"scale": scale, "shift": shift, "nothing": np.float32(0)}
    if row.identity == "emap":
        weights = weights | {emap: EMAP} if last else {emap: EMAP} | weights
    inputs: dict[str, list[int | str]] = {"target": [1, 3, row.side, row.side], "source": [1, 512]}
    return write(path, nodes, inputs, outputs, **weights)


def converter(path: Path) -> Path:
    """crossface_*: `input` [1, 512] to `output` [1, 512]: twice the embedding, backwards."""
    order = np.eye(512, dtype=np.float32)[::-1] * 2
    nodes = [helper.make_node("MatMul", ["input", "order"], ["output"])]
    return write(path, nodes, {"input": [1, 512]}, {"output": [1, 512]}, order=np.ascontiguousarray(order))
