"""Wan VACE at full size with random weights: a step of denoising as diffusers runs it, and under the plan `speed`."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu.parts import Options, Row

CLIP = (832, 480, 49)  # width, height, frames: three seconds
SMALL = (64, 32, 5)
PASSES = 3
GUIDED = 2  # passes of the transformer in a step with guidance


def measure_small_model(options: Options) -> Iterator[Row]:
    """Yield the rows of the model with 1.3 billion parameters."""
    yield from _measure("tiny" if options.small else "1.3b", options)


def measure_large_model(options: Options) -> Iterator[Row]:
    """Yield the rows of the model with 14 billion parameters."""
    if not options.small:
        yield from _measure("14b", options)


def _measure(shape: Any, options: Options) -> Iterator[Row]:
    from benchmarks import wan_models  # noqa: PLC0415  # needs diffusers, which the other parts do without
    from services.creation.engines.wan.plans import PLANS  # noqa: PLC0415

    width, height, frames = SMALL if options.small else CLIP
    network = wan_models.vace_transformer(shape, torch.bfloat16, options.device)
    inputs = wan_models.vace_inputs(shape, (width, height), frames, options.device)
    size = f"{width}x{height}, {frames} frames"

    def step() -> None:
        for _ in range(GUIDED):
            network(**inputs, return_dict=False)

    with torch.inference_mode():
        eager = _seconds(step, options.device)
        yield Row(
            f"Wan VACE {shape}, {size}: a step, diffusers eager",
            *_told(eager, options),
            {f"wan_{shape}_eager_s": eager},
        )
        plan = PLANS["speed"]
        if options.device.type == "cuda" and plan.attention:
            network.set_attention_backend(plan.attention)
        begin = time.perf_counter()
        network.compile_repeated_blocks(fullgraph=True)
        step()
        compiled_in = time.perf_counter() - begin
        planned = _seconds(step, options.device)
        figures = {f"wan_{shape}_speed_s": planned, f"wan_{shape}_compile_s": compiled_in}
        told, memory = _told(planned, options)
        compared = f"{eager / planned:.2f} times eager; {memory}; {compiled_in:.0f} s to compile"
        yield Row(f"Wan VACE {shape}, {size}: a step, plan speed", told, compared, figures)
        yield _fast(lambda: network(**inputs, return_dict=False), f"Wan VACE {shape}, {size}", planned, options)


def _fast(run_once: Callable[[], object], title: str, guided_step: float, options: Options) -> Row:
    """Measure all steps of a clip under the plan `fast`, against those of the plan `speed` without its cache.

    A LoRA is fused into the weights, whose values change no time.
    """
    from services.creation.engines.wan.dmd_scheduler import LORA  # noqa: PLC0415
    from services.creation.engines.wan.plans import PLANS  # noqa: PLC0415

    def clip() -> None:
        for _ in LORA:
            run_once()

    seconds, steps = _seconds(clip, options.device), PLANS["speed"].steps
    told, memory = _told(seconds, options)
    usual = guided_step * steps
    compared = f"{usual / seconds:.1f} times plan speed, whose {steps} steps take {usual:.0f} s; {memory}"
    key = title.removeprefix("Wan VACE ").split(",")[0]
    return Row(f"{title}: the {len(LORA)} steps of plan fast", told, compared, {f"wan_{key}_fast_s": seconds})


def _told(seconds: float, options: Options) -> tuple[str, str]:
    memory = torch.cuda.max_memory_reserved() / 2**30 if options.device.type == "cuda" else 0.0
    return f"{seconds:.2f} s", f"{memory:.1f} GiB at most"


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    """Return the median time of a step, after one that is not counted."""
    times = []
    for _ in range(PASSES + 1):
        begin = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])
