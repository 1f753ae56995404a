"""Upscaling: animevideov3 against the same weights in ncnn, onnxruntime and OpenVINO, model only and end to end.

All run in one process on the same frames with the same number of threads, one after the other and in turns, so that
other load on the machine affects all of them equally. End to end each engine gets our decoder, encoder and preset.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import ncnn
import numpy as np
import onnxruntime
import openvino
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.clips import SIZE, clip_frames, write_frames
from benchmarks.report import Report, spread
from services.upscale.model import load
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared import weights
from shared.arrays import Image
from shared.networks.compute import Compute
from shared.networks.upscaler import Upscaler
from shared.pipeline.direct_job import DirectJob
from shared.settings import Settings, UpscaleSettings

NAME = "realesr-animevideov3"
ROUNDS = 4
END_TO_END_FRAMES = 6
WHITE = 255.0

Engine = Callable[[Image], Image]


def measure() -> Report:
    """Time each engine for one frame, in turns, then for a short clip from file to file."""
    frames = clip_frames(END_TO_END_FRAMES)
    model = load(Settings(device="cpu", upscale=UpscaleSettings(model="animevideov3")))
    engines: dict[str, Engine] = {
        f"kinora ({model.engine.name})": lambda frame: model(frame, 4),
        "ncnn fp32": ncnn_engine(),
        "onnxruntime fp32": onnxruntime_engine(),
        **openvino_engines(),
    }
    alone = in_turns({name: partial(engine, frames[0]) for name, engine in engines.items()})
    with TemporaryDirectory() as made:
        folder = Path(made)
        clip = write_frames(folder / "clip.mp4", frames)
        runs = {name: partial(end_to_end, engine, clip, folder, model) for name, engine in engines.items()}
        whole = in_turns(runs, rounds=2)
    ours = next(iter(engines))
    rows, figures = [], {}
    for name in engines:
        one, all_of_them = statistics.median(alone[name]), statistics.median(whole[name]) / len(frames)
        figures[name] = {"model_ms": one * 1e3, "end_to_end_ms": all_of_them * 1e3}
        ratio = statistics.median(their / our for their, our in zip(whole[name], whole[ours], strict=True))
        share = one / all_of_them
        rows.append(
            [name, spread([t * 1e3 for t in alone[name]]), f"{all_of_them * 1e3:.0f}", f"{share:.2f}", f"{ratio:.2f}"]
        )
    return Report(
        name="upscale",
        title="Upscaling 320x180 to 1280x720 with animevideov3",
        columns=[
            "engine",
            "model only, ms a frame",
            "end to end, ms a frame",
            "end to end / model only",
            "our speed-up",
        ],
        rows=rows,
        figures=figures,
        notes=[
            f"{torch.get_num_threads()} threads; the clip has no duplicate frames; x264 veryfast CRF 18 for all.",
            "The speed-up is the median over rounds of their end-to-end time by ours in the same round.",
        ],
    )


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return seconds: every round runs each once, after one unmeasured round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def end_to_end(engine: Engine, clip: Path, folder: Path, model: Upscaler) -> None:
    """Run our pipeline with an engine in the model's place."""

    class Peer:
        name = "peer"
        compute: Compute = model.compute
        engine = model.engine
        computes_parts = False
        window_pixels = 0

        def __call__(self, frame: Image, _ratio: int, between_windows: Callable[[float], None]) -> Image:
            between_windows(0.0)
            return engine(frame)

    request = UpscaleRequest(task_id=1, dist_dir=str(folder), video_url=str(clip), ratio=4)
    DirectJob(folder, Settings.load(), service="upscale").run(upscale_video, request, Peer())  # type: ignore[arg-type]


def ncnn_engine() -> Engine:
    """Return ncnn with the original files, in fp32."""
    net = ncnn.Net()
    net.opt.num_threads = torch.get_num_threads()
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
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(onnx_model(), options, providers=["CPUExecutionProvider"])
    return lambda frame: packed(session.run(None, {"picture": planar(frame)})[0][0])


def openvino_engines() -> dict[str, Engine]:
    """Return OpenVINO in fp32, and in bf16 where the processor has it."""
    core = openvino.Core()
    model = core.read_model(onnx_model())
    engines: dict[str, Engine] = {}
    precisions = ["f32", "bf16"] if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ["f32"]
    for precision in precisions:
        hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = core.compile_model(model, "CPU", {**hints, "PERFORMANCE_HINT": "LATENCY"})
        engines[f"OpenVINO {precision}"] = lambda frame, compiled=compiled: packed(compiled(planar(frame))[0][0])  # type: ignore[misc]
    return engines


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
