"""Wan at full size with random weights: a step of denoising as diffusers runs it, and under the plan `speed`."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu.parts import Options, Row

CLIP = (832, 480, 49)  # width, height, frames: three seconds
CLIPS = {"wan2.2-ti2v-5b": (1280, 704, 73)}  # the others as above
SMALL = (64, 64, 5)
PASSES = 3
GUIDED = 2  # passes of the transformer in a step with guidance


def measure_small_model(options: Options) -> Iterator[Row]:
    """Yield the rows of the model with 1.3 billion parameters."""
    yield from _measure("wan-vace-1.3b", "tiny" if options.small else "1.3b", options)


def measure_large_model(options: Options) -> Iterator[Row]:
    """Yield the rows of the model with 14 billion parameters."""
    if not options.small:
        yield from _measure("wan-vace-14b", "14b", options)


def measure_5b(options: Options) -> Iterator[Row]:
    """Yield the rows of Wan 2.2's TI2V-5B."""
    yield from _measure("wan2.2-ti2v-5b", "tiny" if options.small else "5b", options)


def measure_a14b(options: Options) -> Iterator[Row]:
    """Yield the rows of one of the two transformers of Wan 2.2's T2V-A14B, and what it takes to exchange them."""
    yield from _measure("wan2.2-t2v-a14b", "tiny" if options.small else "14b", options)
    yield _exchange("tiny" if options.small else "14b", options)


def _measure(name: str, shape: Any, options: Options) -> Iterator[Row]:
    from benchmarks import wan_models  # noqa: PLC0415  # needs diffusers, which the other parts do without
    from services.creation.engines.wan.models import MODELS, VACE  # noqa: PLC0415
    from services.creation.engines.wan.plans import PLANS  # noqa: PLC0415

    model = MODELS[name]
    width, height, frames = SMALL if options.small else CLIPS.get(name, CLIP)
    if model.pipeline == VACE:
        network = wan_models.vace_transformer(shape, torch.bfloat16, options.device)
        inputs = wan_models.vace_inputs(shape, (width, height), frames, options.device)
    else:
        network = wan_models.pair_or_one(name, shape, torch.bfloat16, options.device, count=1)[0]
        inputs = wan_models.plain_inputs(name, shape, (width, height), frames, options.device)
    size = f"{width}x{height}, {frames} frames"
    key = shape if model.pipeline == VACE else name.removeprefix("wan")
    title = f"Wan VACE {shape}" if model.pipeline == VACE else model.title

    def step() -> None:
        for _ in range(GUIDED):
            network(**inputs, return_dict=False)

    with torch.inference_mode():
        eager = _seconds(step, options.device)
        yield Row(
            f"{title}, {size}: a step, diffusers eager",
            *_told(eager, options),
            {f"wan_{key}_eager_s": eager},
        )
        plan = PLANS["speed"]
        if options.device.type == "cuda" and plan.attention:
            network.set_attention_backend(plan.attention)
        begin = time.perf_counter()
        network.compile_repeated_blocks(fullgraph=True)
        step()
        compiled_in = time.perf_counter() - begin
        planned = _seconds(step, options.device)
        figures = {f"wan_{key}_speed_s": planned, f"wan_{key}_compile_s": compiled_in}
        told, memory = _told(planned, options)
        compared = f"{eager / planned:.2f} times eager; {memory}; {compiled_in:.0f} s to compile"
        yield Row(f"{title}, {size}: a step, plan speed", told, compared, figures)
        if model.few_steps and model.few_steps.entry:
            yield _fast(lambda: network(**inputs, return_dict=False), name, (f"{title}, {size}", key), planned, options)


def _fast(
    run_once: Callable[[], object], name: str, titled: tuple[str, str], guided_step: float, options: Options
) -> Row:
    """Measure all steps of a clip under the plan `fast`, against those of the plan `speed` without its cache.

    A LoRA is fused into the weights, whose values change no time.
    """
    from services.creation.engines.wan.models import MODELS, SIGMAS  # noqa: PLC0415

    def clip() -> None:
        for _ in SIGMAS:
            run_once()

    seconds, steps = _seconds(clip, options.device), MODELS[name].steps
    told, memory = _told(seconds, options)
    usual = guided_step * steps
    compared = f"{usual / seconds:.1f} times plan speed, whose {steps} steps take {usual:.0f} s; {memory}"
    title, key = titled
    return Row(f"{title}: the {len(SIGMAS)} steps of plan fast", told, compared, {f"wan_{key}_fast_s": seconds})


def _exchange(shape: Any, options: Options) -> Row:
    """Measure how long the second transformer takes from host memory to the device, in place of the first."""
    from benchmarks import wan_models  # noqa: PLC0415
    from services.creation.engines.wan.two_transformers import alternate  # noqa: PLC0415

    networks = wan_models.pair_or_one("wan2.2-t2v-a14b", shape, torch.bfloat16)
    alternating = alternate(networks, options.device)
    order = [1, 0] * PASSES

    def exchange() -> None:
        alternating.bring(order.pop())

    order.append(1)
    seconds = _seconds(exchange, options.device)
    told, memory = _told(seconds, options)
    return Row("Wan2.2-T2V-A14B: from one transformer to the other", told, memory, {"wan_a14b_exchange_s": seconds})


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
