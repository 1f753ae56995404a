"""animevideov3 in ncnn, onnxruntime and OpenVINO, with our weights: what `benchmarks.upscale` compares with.

Every engine is a callable, a frame (H, W, 3) to (4H, 4W, 3), both uint8 RGB. It computes in one thread, and as many
threads as there are cores may call it at once: frames side by side are the fastest way for all of them.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

import ncnn
import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.clips import SIZE
from shared import weights
from shared.arrays import Image
from shared.process.cores import usable_cores

NAME = "realesr-animevideov3"
WHITE = 255.0

Engine = Callable[[Image], Image]


def peers() -> dict[str, Engine]:
    """Return all of them by name."""
    return {"ncnn fp32": ncnn_engine(), "onnxruntime fp32": onnxruntime_engine(), **openvino_engines()}


def ncnn_engine() -> Engine:
    """Return ncnn with the original files, in fp32."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(weights.path(NAME, f"{NAME}-x4.param")))
    net.load_model(str(weights.path(NAME, f"{NAME}-x4.bin")))

    def run(frame: Image) -> Image:
        planes = planar(frame)[0]
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(planes))
        return packed(np.array(extractor.extract("output")[1]))

    return run


def onnxruntime_engine() -> Engine:
    """Return onnxruntime in fp32."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model(), options, providers=["CPUExecutionProvider"])
    return lambda frame: packed(session.run(None, {"picture": planar(frame)})[0][0])


def openvino_engines() -> dict[str, Engine]:
    """Return OpenVINO in fp32, and in bf16 where it can."""
    engines = {}
    for precision in ("f32", "bf16"):
        # It names bf16 by the processor alone, and fails where oneDNN was told to use fewer instructions.
        with suppress(RuntimeError):
            engines[f"OpenVINO {precision}"] = openvino_engine(precision)
    return engines


def openvino_engine(precision: str) -> Engine:
    """Return OpenVINO with a stream of one thread for each core; RuntimeError where it lacks the precision."""
    core = openvino.Core()
    capability = {"f32": "FP32", "bf16": "BF16"}[precision]
    if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError(f"this processor has no {precision}")
    cores = usable_cores()
    streams = {"INFERENCE_NUM_THREADS": cores, "NUM_STREAMS": cores, "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(core.read_model(onnx_model()), "CPU", streams)
    own = threading.local()  # a request takes one caller at a time

    def run(frame: Image) -> Image:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return packed(own.request.infer([planar(frame)])[0][0])

    return run


def onnx_model() -> bytes:
    """Write the network as an ONNX graph, from the same weights."""
    state = {name: tensor.float().numpy() for name, tensor in weights.load_safetensors(NAME).items()}
    nodes, tensors, last = [], [], "picture"
    for index in range(1 + max(int(name.split(".")[1]) for name in state)):
        weight, out = state[f"body.{index}.weight"], f"t{index}"
        if weight.ndim == 1:
            tensors.append(numpy_helper.from_array(weight.reshape(-1, 1, 1), f"w{index}"))
            nodes.append(helper.make_node("PRelu", [last, f"w{index}"], [out]))
        else:
            tensors.append(numpy_helper.from_array(weight, f"w{index}"))
            tensors.append(numpy_helper.from_array(state[f"body.{index}.bias"], f"b{index}"))
            nodes.append(helper.make_node("Conv", [last, f"w{index}", f"b{index}"], [out], pads=[1, 1, 1, 1]))
        last = out
    tensors.append(numpy_helper.from_array(np.array([1, 1, 4, 4], np.float32), "scales"))
    nodes.append(helper.make_node("DepthToSpace", [last], ["detail"], blocksize=4, mode="CRD"))
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes.append(helper.make_node("Resize", ["picture", "", "scales"], ["base"], **options))
    nodes.append(helper.make_node("Add", ["detail", "base"], ["output"]))
    width, height = SIZE
    given = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, height, width])
    made = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, height * 4, width * 4])
    graph = helper.make_graph(nodes, "animevideov3", [given], [made], tensors)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 16)])
    return bytes(model.SerializeToString())


def planar(frame: Image) -> NDArray[np.float32]:
    """Return (H, W, 3) 0-255 as (1, 3, H, W) 0-1."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1)[np.newaxis], np.float32) / np.float32(WHITE)


def packed(planes: NDArray[np.float32]) -> Image:
    """Return (3, H, W) 0-1 as (H, W, 3) 0-255."""
    return np.ascontiguousarray(np.clip(planes * WHITE + 0.5, 0, WHITE).astype(np.uint8).transpose(1, 2, 0))
