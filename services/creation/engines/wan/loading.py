"""From a checkpoint and a plan to a pipeline that is ready: the only module that applies a plan."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, WanImageToVideoPipeline, WanPipeline, WanVACEPipeline
from diffusers.hooks import apply_layerwise_casting
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.dmd_scheduler import SCHEDULERS
from services.creation.engines.wan.first_block import Caches, cache_first_block
from services.creation.engines.wan.loras import check_loras, fuse_loras
from services.creation.engines.wan.models import FROM_PICTURE, PLAIN, VACE, Model
from services.creation.engines.wan.plans import Plan
from services.creation.engines.wan.two_transformers import alternate
from shared.networks.compute import choose_compute, cpu_multiplies_bfloat16
from shared.settings import Settings

PIPELINES: dict[str, Any] = {VACE: WanVACEPipeline, PLAIN: WanPipeline, FROM_PICTURE: WanImageToVideoPipeline}
NOISE = re.compile(r"(?<![a-z])(high|low)(?=[_-]?noise|n?(?![a-z]))")  # in a LoRA's name: which transformer it is for
KEEP_FP32 = ("norm", "relative_attention_bias")  # layers of the text encoder

logger = logging.getLogger("bentoml.kinora.wan")


def choose_device(settings: Settings) -> tuple[torch.device, torch.dtype]:
    """Return where the transformer runs and in which precision: Wan overflows in fp16."""
    device = choose_compute(settings.device).device
    has_bf16 = device.type == "cuda" or cpu_multiplies_bfloat16()
    return device, torch.bfloat16 if has_bf16 else torch.float32


def free_gpu_bytes(device: torch.device) -> int | None:
    """Return the free memory of a GPU, None for a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def load_pipeline(
    checkpoint: Checkpoint,
    plan: Plan,
    device: torch.device,
    dtype: torch.dtype,
    *,
    loras: Sequence[tuple[Path, float]] = (),
) -> tuple[Any, Caches | None]:
    """Load transformers, VAE and scheduler and apply the plan; texts are encoded separately (`text_encoder.py`)."""
    _silence_libraries()
    location, offline, model = checkpoint.location(), not checkpoint.may_download, checkpoint.model
    check_loras(loras)
    logger.info("loading %s on %s with plan %s, placed as %s", checkpoint.title, device, plan.title, plan.name)
    vae = AutoencoderKLWan.from_pretrained(location, subfolder="vae", dtype=torch.float32, local_files_only=offline)
    pipe = PIPELINES[model.pipeline].from_pretrained(
        location, vae=vae, text_encoder=None, tokenizer=None, dtype=dtype, local_files_only=offline
    )
    for part in model.transformers:
        fuse_loras(getattr(pipe, part), loras_of(part, loras) if model.boundary_ratio else loras)
    return pipe, apply_plan(pipe, plan, model, device, dtype)


def loras_of(part: str, loras: Sequence[tuple[Path, float]]) -> list[tuple[Path, float]]:
    """Return those LoRAs that are for one of two transformers: by `high` or `low` in a file's name, or for both.

    As it is published: `high_noise_model`, `lora_LOW_fp16`, `HighNoise-Q8`; the name `slow` says neither.
    """
    wanted = "high" if part == "transformer" else "low"
    found = {path: set(NOISE.findall(path.name.lower())) for path, _ in loras}
    return [(path, weight) for path, weight in loras if wanted in found[path] or not found[path]]


def apply_plan(pipe: Any, plan: Plan, model: Model, device: torch.device, dtype: torch.dtype) -> Caches | None:
    """Place and configure a pipeline as the plan says, in place; return its first-block caches, if the plan has them.

    Of two transformers each is treated as one alone, but only the one that denoises is on the GPU.
    """
    pipe.set_progress_bar_config(disable=True)
    if plan.sigmas and model.few_steps:
        pipe.scheduler = SCHEDULERS[model.few_steps.solver](plan.sigmas)
    else:
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=model.flow_shift)
    if model.boundary_ratio and pipe.config.boundary_ratio is None:  # without it the second one would never denoise
        pipe.register_to_config(boundary_ratio=model.boundary_ratio)
    if plan.tiling:
        pipe.vae.enable_tiling()
    transformers = [getattr(pipe, part) for part in model.transformers]
    storage = _storage_dtype(plan, device, dtype)
    caches = []
    for transformer in transformers:
        if storage != dtype:
            transformer.enable_layerwise_casting(storage_dtype=storage, compute_dtype=dtype)
        if plan.cache_threshold:
            caches.append(cache_first_block(transformer, plan.cache_threshold))
    if device.type == "cuda":
        _place_on_gpu(pipe, transformers, plan, device)
    return Caches(caches) if caches else None


def _place_on_gpu(pipe: Any, transformers: list[Any], plan: Plan, device: torch.device) -> None:
    """Apply what only a GPU has: offloading, its attention kernels, compiling."""
    pipe.vae.to(device)
    for transformer in transformers:
        if plan.offload:
            transformer.enable_group_offload(
                onload_device=device,
                offload_type=plan.offload,
                num_blocks_per_group=1 if plan.offload == "block_level" else None,
                use_stream=True,  # the next block arrives while this one computes
            )
        elif len(transformers) == 1:
            transformer.to(device)
        if plan.attention:
            transformer.set_attention_backend(plan.attention)
        if plan.compiled:
            transformer.compile_repeated_blocks(fullgraph=True)
    if len(transformers) > 1 and not plan.offload:
        alternate(transformers, device)


def load_encoder(checkpoint: Checkpoint, device: torch.device) -> Any:
    """Load a pipeline of the text encoder alone, for its `encode_prompt`. 11 GB in bf16."""
    _silence_libraries()
    location, offline = checkpoint.location(), not checkpoint.may_download
    # As published: with its own class, transformers 5 would rebuild it from the vocabulary by other rules.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(location, subfolder="tokenizer", local_files_only=offline)
    encoder = DiffusionPipeline.from_pretrained(
        location,
        tokenizer=tokenizer,
        vae=None,
        **dict.fromkeys(checkpoint.model.transformers),
        dtype=torch.bfloat16,
        local_files_only=offline,
    )
    if device.type == "cpu" and not cpu_multiplies_bfloat16():
        _compute_in_fp32(encoder.text_encoder)
    return encoder.to(device)


def _compute_in_fp32(encoder: nn.Module) -> None:
    """Compute in fp32 from bf16 weights: on a CPU emulated bf16 is ten times slower, fp32 weights twice as large."""
    for name, module in encoder.named_modules():
        if any(part in name for part in KEEP_FP32):
            module.float()
        if name.endswith(".wo"):  # T5 converts the input to the precision in which these weights are stored
            module.register_forward_pre_hook(lambda _module, inputs: (inputs[0].float(),))
    apply_layerwise_casting(
        encoder, storage_dtype=torch.bfloat16, compute_dtype=torch.float32, skip_modules_pattern=KEEP_FP32
    )


def _storage_dtype(plan: Plan, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Return how the transformer's weights are stored: fp8 is for small GPUs, a CPU has the memory for bf16."""
    if device.type == "cpu":
        return torch.bfloat16
    return getattr(torch, plan.storage) if plan.storage else dtype


def _silence_libraries() -> None:
    """Keep the progress bars and warnings of two libraries out of the runner's log."""
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
