"""The draft of the wan benchmark: the parts that follow one another, at full size with random weights."""

import time
from typing import Any, Literal

import torch
from diffusers import WanPipeline

from benchmarks import wan_models
from benchmarks.clocks import peak_gib
from benchmarks.turns import Turns
from benchmarks.wan_models import Shape
from services.creation.engines.wan.decoding import Decoding
from services.creation.engines.wan.dmd_scheduler import FAST_WAN, DMDScheduler
from services.creation.engines.wan.draft import UPSCALER, denoise
from services.creation.engines.wan.draft_loading import assemble, choose_precision
from services.creation.engines.wan.draft_size import draft_size, enlarge
from services.creation.engines.wan.gates import give_gates
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.models import SIGMAS
from services.creation.engines.wan.plans import PLANS
from services.creation.engines.wan.tiny_decoder import TinyDecoder
from shared import weights
from shared.arrays import Image
from shared.networks.compute import Compute, choose_compute
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Upscaler
from shared.settings import Settings

UPSCALED = 6  # frames that are timed


def draft(
    shape: Shape,
    *,
    size: tuple[int, int],
    frames: int,
    decoder: Literal["tiny", "vae"] = "tiny",
    gates: bool = True,
    turns: bool = False,
) -> dict[str, Any]:
    """Time four steps, the decoding and the upscaling of a draft; the text's embedding is given.

    `turns` waits before each step and before the decoding for the other run of a comparison.
    """
    compute = choose_precision(Settings.load())
    pipe = _pipeline(shape, compute, with_vae=decoder == "vae", gates=gates)
    request = GenerationRequest(prompt="", negative_prompt="", guidance=1.0, seed=1, size=size, frame_count=frames)
    taken = Turns(taken=turns)

    def on_progress(_progress: float) -> None:
        taken.end()
        taken.begin()

    decoding, embedding = _decoding(decoder, compute), wan_models.embedding(shape)
    taken.begin()
    pictures = denoise(pipe, request, embedding, on_progress, decoding)
    taken.end()
    walls, cpu_seconds = (list(clock) for clock in zip(*taken.parts, strict=True))
    peak = peak_gib()
    return {
        "compute": compute.name,
        "size": "{}x{}".format(*draft_size(size)),
        "frames": len(pictures),
        "decoder": decoder,
        "gates": gates,
        "steps": walls[:-1],
        "decode": walls[-1],
        "seconds": round(sum(walls), 2),
        "seconds_with_fast_wan": round(sum(walls[: len(FAST_WAN)]) + walls[-1], 2),  # which takes fewer steps
        "cpu_seconds": {"steps": cpu_seconds[:-1], "decode": cpu_seconds[-1]},
        "upscale_a_frame": _upscaling_seconds(pictures, size),
        "peak_gib": peak,
        "peak_with_upscaler_gib": peak_gib(),
    }


def _pipeline(shape: Shape, compute: Compute, *, with_vae: bool, gates: bool) -> WanPipeline:
    """Return what the engine loads for a draft, with four steps."""
    transformer = wan_models.plain_transformer(shape, torch.bfloat16)
    if gates:
        give_gates(transformer, wan_models.random_gates(transformer), shape)
    pipe = assemble(transformer, wan_models.vae(shape).to(compute.dtype) if with_vae else None, compute)
    pipe.scheduler = DMDScheduler(SIGMAS)
    return pipe


def _decoding(decoder: Literal["tiny", "vae"], compute: Compute) -> Decoding:
    """Return the plan's decoding with this decoder; the tiny one needs no weights to be timed."""
    settings = Settings.load()
    creation = settings.creation.model_copy(update={"decoder": decoder})
    decoding = Decoding(PLANS["draft"], settings.model_copy(update={"creation": creation}), compute)
    if decoder == "tiny":
        tiny = TinyDecoder().to(compute.device, compute.dtype).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # its stubs lack it
        decoding._decoder = tiny  # noqa: SLF001  # in place of the one that it would load from the catalogue
    return decoding


def _upscaling_seconds(pictures: list[Image], size: tuple[int, int]) -> float:
    """Return how long a frame takes from the draft's size to the clip's."""
    network = SRVGG.from_weights(weights.load_safetensors(UPSCALER)).anchored()
    upscale = Upscaler(network, choose_compute(Settings.load().device), name=UPSCALER)
    begin = time.perf_counter()
    for _ in enlarge(pictures[:UPSCALED], size, upscale, lambda _count: None):
        pass
    return round((time.perf_counter() - begin) / min(UPSCALED, len(pictures)), 3)
