"""One run of the wan benchmark, in a process of its own: `python -m benchmarks.wan_runs '{"run": "draft", …}'`.

The last line of its output is the result as JSON. A process of its own has its own peak of memory, and if it
runs out of memory nothing else ends with it.
"""

import json
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import wan_models
from benchmarks.clocks import clocks, peak_gib
from benchmarks.wan_draft import draft
from benchmarks.wan_models import Shape
from services.creation.engines.wan.draft_loading import choose_precision, store_blocks_in_bf16
from services.creation.engines.wan.draft_size import draft_size
from services.creation.engines.wan.gates import give_gates
from services.creation.engines.wan.loading import apply_plan, choose_device
from services.creation.engines.wan.models import MODELS, VACE
from services.creation.engines.wan.plans import PLANS, PlanName
from services.creation.engines.wan.preview import picture_of
from services.creation.engines.wan.tiny_decoder import TinyDecoder
from shared.settings import Settings

GUIDANCE = 5.0  # two passes a step, as a request makes


def layer(shape: Shape, *, compute: str, storage: str, size: tuple[int, int], frames: int) -> dict[str, Any]:
    """Time one block of the transformer in the given precisions: the faster of two passes."""
    stored, computed = getattr(torch, storage), getattr(torch, compute)
    network = wan_models.plain_transformer(shape, stored, layers=1)
    if stored != computed:
        store_blocks_in_bf16(network)
    width, height = draft_size(size)
    latents = torch.randn(1, 16, (frames - 1) // 4 + 1, height // 8, width // 8, dtype=computed)
    conditions = {
        "hidden_states": latents,
        "timestep": torch.tensor([1000.0]),
        "encoder_hidden_states": wan_models.embedding(shape).to(computed),
    }
    ends = [clocks()]
    with torch.inference_mode():
        for _ in range(2):
            network(**conditions, return_dict=False)
            ends.append(clocks())
    walls, cpu_seconds = np.diff(ends, axis=0).T.round(2).tolist()
    return {"seconds": min(walls), "cpu_seconds": min(cpu_seconds)}


def decoders(shape: Shape, *, size: tuple[int, int], frames: int) -> dict[str, Any]:
    """Time the tiny decoder and the VAE on the latents of one clip, and the memory that each adds at its peak."""
    compute = choose_precision(Settings.load())
    width, height = draft_size(size)
    latents = torch.randn(1, 16, (frames - 1) // 4 + 1, height // 8, width // 8)
    tiny = TinyDecoder().to(compute.device, compute.dtype).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # its stubs lack it
    full = wan_models.vae(shape).to(compute.dtype)
    results: dict[str, Any] = {"compute": compute.name, "size": f"{width}x{height}", "frames": frames}
    with torch.inference_mode():
        for name, decode in (
            ("tiny", lambda: sum(1 for _ in tiny.images(latents))),
            ("preview", lambda: picture_of(tiny, latents)),
            ("vae", lambda: full.decode(latents.to(compute.dtype), return_dict=False)[0]),
        ):
            before, begin = peak_gib(), clocks()
            decode()
            wall, cpu = np.subtract(clocks(), begin).round(2).tolist()
            results[name] = {"seconds": wall, "cpu_seconds": cpu, "peak_added_gib": round(peak_gib() - before, 2)}
    return results


def gates(shape: Shape, *, size: tuple[int, int], frames: int, layers: int = 2) -> dict[str, Any]:
    """Time blocks with and without the gates of video sparse attention, in turns: the fastest of four passes each."""
    compute = choose_precision(Settings.load())
    width, height = draft_size(size)
    networks = [wan_models.plain_transformer(shape, torch.bfloat16, layers=layers) for _ in range(2)]
    give_gates(networks[1], wan_models.random_gates(networks[1]), shape)
    conditions = {
        "hidden_states": torch.randn(1, 16, (frames - 1) // 4 + 1, height // 8, width // 8, dtype=compute.dtype),
        "timestep": torch.tensor([1000.0]),
        "encoder_hidden_states": wan_models.embedding(shape).to(compute.dtype),
    }
    if compute.dtype == torch.float32:
        for network in networks:
            store_blocks_in_bf16(network)
    passes: list[list[list[float]]] = [[], []]
    with torch.inference_mode():
        for _ in range(5):
            for network, each in zip(networks, passes, strict=True):
                begin = clocks()
                network(**conditions, return_dict=False)
                each.append(np.subtract(clocks(), begin).tolist())
    (plain, plain_cpu), (gated, gated_cpu) = (np.min(each[1:], axis=0).round(3).tolist() for each in passes)
    return {
        "compute": compute.name,
        "seconds": {"plain": plain, "gated": gated, "ratio": round(gated / plain, 3)},
        "cpu_seconds": {"plain": plain_cpu, "gated": gated_cpu, "ratio": round(gated_cpu / plain_cpu, 3)},
    }


def vace(
    shape: Shape, *, plan: PlanName, steps: int, size: tuple[int, int], frames: int, model: str = "wan-vace-1.3b"
) -> dict[str, Any]:
    """Time some steps and the decoding of a clip of a text under a plan, with any row of the table of models.

    The first-block cache is off: what it saves depends on the values.
    """
    device, dtype = choose_device(Settings.load())
    row = MODELS[model]
    pipe = (
        wan_models.vace_pipeline(shape, dtype)
        if row.pipeline == VACE
        else wan_models.plain_pipeline(model, shape, dtype)
    )
    apply_plan(pipe, replace(PLANS[plan], cache_threshold=None), row, device, dtype)
    text = wan_models.embedding(shape).to(device)
    conditions = {"prompt_embeds": text, "negative_prompt_embeds": text, "guidance_scale": GUIDANCE}
    ends: list[float] = []

    def on_step(_pipe: object, _index: int, _time: object, _tensors: object) -> dict[str, Any]:
        synchronize(device)
        ends.append(time.perf_counter())
        return {}

    for count in (2, steps):  # the first run compiles
        ends.clear()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begin = time.perf_counter()
        pipe(
            **conditions,
            width=size[0],
            height=size[1],
            num_frames=frames,
            num_inference_steps=count,
            generator=torch.Generator().manual_seed(1),
            callback_on_step_end=on_step,
            output_type="pt",
        )
        synchronize(device)
        done = time.perf_counter()
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "steps": np.diff([begin, *ends]).round(3).tolist(),
        "decode": round(done - ends[-1], 2),
        "peak_gpu_gib": round(torch.cuda.max_memory_reserved(device) / 2**30, 1) if on_gpu else None,
        "peak_gib": peak_gib(),
    }


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


RUNS = {"draft": draft, "layer": layer, "decoders": decoders, "gates": gates, "vace": vace}

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    run = RUNS[options.pop("run")]
    print(json.dumps(run(options.pop("shape"), size=tuple(options.pop("size")), **options)))  # type: ignore[operator]
