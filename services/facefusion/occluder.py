"""A small network that tells from one picture what is in front of a face, in the atlas.

86,000 numbers in `occluder.npz`, trained by `benchmarks/occluders/train.py` from composites alone: faces in the atlas,
covered by drawn things. It sees the face's colours relative to its own skin, the same mirrored (a face is nearly
symmetric, what covers it is not) and the place in the atlas, so that it knows that brows are dark and where a nose has
its shadow. A U-Net (Ronneberger and others 2015) of four depths at half the atlas's side; the last layer returns the
four pixels of each cell (sub-pixel convolution, Shi and others 2016).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from services.facefusion import network
from services.facefusion.face import Float
from services.facefusion.occlusion import ATLAS_SIDE, features, oval, skin_median
from services.facefusion.swapper import View
from shared.arrays import Image

Occluder = Callable[[Image, View], Float]  # of a frame and a face in it: (ATLAS_SIDE, ATLAS_SIDE), 1 where covered

DEPTHS = 4
WIDTHS = (16, 24, 32, 48)  # channels at each depth
COLOUR_SCALE: Float = np.array([25.0, 10.0, 10.0], np.float32)  # Lab differences that count as 1
PLANES = 28  # of the input: 6 colours of 4 pixels each, 4 of the place
HALF = ATLAS_SIDE // 2


@dataclass(frozen=True)
class Layer:
    """A convolution of the network."""

    name: str
    inputs: int
    outputs: int
    side: int  # of its kernel


def _layers() -> tuple[Layer, ...]:
    found = []
    before = PLANES
    for depth, width in enumerate(WIDTHS):
        found += [Layer(f"down{depth}a", before, width, 3), Layer(f"down{depth}b", width, width, 3)]
        before = width
    for depth in reversed(range(DEPTHS - 1)):
        found += [Layer(f"up{depth}a", before, WIDTHS[depth], 1), Layer(f"up{depth}b", WIDTHS[depth], WIDTHS[depth], 3)]
        before = WIDTHS[depth]
    return (*found, Layer("head", before, 4, 3))


LAYERS = _layers()


def covering(lab: Float) -> Float:
    """0-1 in the atlas, 1 where something covers the face of one frame (ATLAS_SIDE, ATLAS_SIDE, 3 Lab)."""
    session = _session()
    (found,) = session.run(None, {"planes": planes(lab)[None]})
    return np.asarray(found[0, 0] * oval(), np.float32)


def planes(lab: Float) -> Float:
    """Return what the network sees of a face in the atlas: (PLANES, HALF, HALF)."""
    found = np.empty((PLANES, HALF, HALF), np.float32)
    cells = found[:24].reshape(2, 3, 2, 2, HALF, HALF)
    for channel, (one_colour, scale) in enumerate(zip(cv2.split(lab), COLOUR_SCALE, strict=True)):
        plane = np.asarray(one_colour, np.float32)
        colour = np.clip((plane - skin_median(plane)) / scale, -4, 4)
        for side, one in enumerate((colour, colour[:, ::-1])):
            for row, column in np.ndindex(2, 2):
                cells[side, channel, row, column] = one[row::2, column::2]
    found[24:] = _place()
    return found


@cache
def _place() -> Float:
    rows, columns = np.mgrid[0:HALF, 0:HALF].astype(np.float32) / HALF * 2 - 1
    small = [
        cv2.resize(mask().astype(np.float32), (HALF, HALF), interpolation=cv2.INTER_AREA) for mask in (oval, features)
    ]
    return np.stack([np.abs(columns), rows, *small]).astype(np.float32)


@cache
def _session() -> onnxruntime.InferenceSession:
    with (files("services.facefusion") / "occluder.npz").open("rb") as file:
        stored = {name: value.astype(np.float32) for name, value in np.load(file).items()}
    return network.session(graph(stored), threads=1)


def graph(stored: dict[str, Float]) -> onnx.ModelProto:
    """Build the network of these weights, `NAME.weight` and `NAME.bias` for each layer."""
    nodes: list[onnx.NodeProto] = []
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")

    def convolved(value: str, layer: Layer, *, relu: bool = True) -> str:
        pad = layer.side // 2
        out = f"{layer.name}.out"
        names = [value, f"{layer.name}.weight", f"{layer.name}.bias"]
        nodes.append(helper.make_node("Conv", names, [out], kernel_shape=[layer.side] * 2, pads=[pad] * 4))
        if relu:
            nodes.append(helper.make_node("Relu", [out], [f"{layer.name}.relu"]))
        return f"{layer.name}.relu" if relu else out

    layers = {layer.name: layer for layer in LAYERS}
    value, skips = "planes", []
    for depth in range(DEPTHS):
        value = convolved(convolved(value, layers[f"down{depth}a"]), layers[f"down{depth}b"])
        if depth < DEPTHS - 1:
            skips.append(value)
            nodes.append(helper.make_node("MaxPool", [value], [f"pool{depth}"], kernel_shape=[2, 2], strides=[2, 2]))
            value = f"pool{depth}"
    for depth in reversed(range(DEPTHS - 1)):
        narrow = convolved(value, layers[f"up{depth}a"], relu=False)
        nodes.append(
            helper.make_node(
                "Resize",
                [narrow, "", "scales"],
                [f"large{depth}"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        )
        nodes.append(helper.make_node("Add", [f"large{depth}", skips[depth]], [f"sum{depth}"]))
        nodes.append(helper.make_node("Relu", [f"sum{depth}"], [f"sum{depth}.relu"]))
        value = convolved(f"sum{depth}.relu", layers[f"up{depth}b"])
    value = convolved(value, layers["head"], relu=False)
    nodes.append(helper.make_node("DepthToSpace", [value], ["whole"], blocksize=2, mode="CRD"))
    nodes.append(helper.make_node("Sigmoid", ["whole"], ["covered"]))
    made = helper.make_graph(
        nodes,
        "occluder",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, [1, PLANES, HALF, HALF])],
        [helper.make_tensor_value_info("covered", TensorProto.FLOAT, [1, 1, ATLAS_SIDE, ATLAS_SIDE])],
        [scales, *(numpy_helper.from_array(weight, name) for name, weight in stored.items())],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 9
    return model
