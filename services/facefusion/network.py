"""Small ONNX networks on onnxruntime, with the block-quantised weights of OpenCV's zoo folded to fp32.

`*_int8bq.onnx` keeps its weights as int8 blocks behind DequantizeLinear nodes with `block_size`, which onnxruntime
1.31 refuses. Their product is a constant, so it is computed once at load; the network is then plain fp32 and seven
times as fast as OpenCV's own engine on the same file (YuNet at 640 x 384 on two cores: 5.4 ms against 40 ms).
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from services.facefusion.face import Float

THREADS = 2  # per network on the CPU


def session(model: onnx.ModelProto, *, cuda: bool = False, threads: int = THREADS) -> onnxruntime.InferenceSession:
    """Start a session; without the CUDA provider it runs on the CPU, each call in so many threads."""
    return onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(threads), providers=providers(cuda=cuda)
    )


def session_options(threads: int = THREADS) -> onnxruntime.SessionOptions:
    """Return what every session of the service is started with."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: the zoo's files contain unused initializers
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to the encoder
    return options


def providers(*, cuda: bool) -> list[str]:
    """Return onnxruntime's providers, the CPU's last: CUDA's only where it is wanted and installed."""
    wanted = ["CUDAExecutionProvider"] if cuda else []
    available = [name for name in wanted if name in onnxruntime.get_available_providers()]
    return [*available, "CPUExecutionProvider"]


def read(path: Path) -> onnx.ModelProto:
    """Read a model; weights behind DequantizeLinear become fp32, and no weight is listed as an input."""
    model = onnx.load(path)
    graph = model.graph
    constants = {entry.name: entry for entry in graph.initializer}
    folded: set[str] = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            parts = [numpy_helper.to_array(constants[name]) for name in node.input if name]
            attributes = {entry.name: entry.i for entry in node.attribute}
            weight = dequantize(parts, attributes.get("axis", 1), attributes.get("block_size", 0))
            graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
            folded.update([*node.input, node.output[0]])
    keep_nodes = [node for node in graph.node if not folded.issuperset(node.output)]
    keep_weights = [entry for entry in graph.initializer if entry.name not in folded or entry.name not in constants]
    wanted = {name for node in keep_nodes for name in node.input} - {entry.name for entry in keep_weights}
    keep_inputs = [entry for entry in graph.input if entry.name in wanted]
    for field, kept in ((graph.node, keep_nodes), (graph.initializer, keep_weights), (graph.input, keep_inputs)):
        del field[:]
        field.extend(kept)
    return model


def dequantize(parts: list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]], axis: int, block: int) -> Float:
    """Compute `(q - zero) * scale`; a scale covers `block` entries along `axis`, or the whole slice when 0."""
    quantised = parts[0].astype(np.float32)
    scale = parts[1].astype(np.float32)
    zero = parts[2].astype(np.float32) if len(parts) > 2 else np.zeros_like(scale)  # noqa: PLR2004  # optional input
    if block:
        window = tuple(slice(0, length) for length in quantised.shape)
        scale, zero = (np.repeat(part, block, axis)[window] for part in (scale, zero))
    elif scale.ndim == 1:
        shape = [-1 if index == axis else 1 for index in range(quantised.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((quantised - zero) * scale, np.float32)


def free_dimensions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let height and width of the first input (NCHW) vary; the shapes stored for a fixed size are removed."""
    for index, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[index].dim_param = name
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model
