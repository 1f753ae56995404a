"""From a checkpoint and a plan to a pipeline that is ready: the only module that applies a plan."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, WanVACEPipeline
from diffusers.hooks import apply_layerwise_casting
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.dmd_scheduler import DMDScheduler
from services.creation.engines.wan.first_block import FirstBlockCache, cache_first_block
from services.creation.engines.wan.loras import check_loras, fuse_loras
from services.creation.engines.wan.plans import Plan, Size
from shared.networks.compute import choose_compute, cpu_multiplies_bfloat16
from shared.settings import Settings

FLOW_SHIFT = {"1.3b": 3.0, "14b": 5.0}  # 480p, 720p: larger pictures need more steps at high noise
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
) -> tuple[WanVACEPipeline, FirstBlockCache | None]:
    """Load transformer, VAE and scheduler and apply the plan; texts are encoded separately (`text_encoder.py`)."""
    _silence_libraries()
    location, offline = checkpoint.location(), not checkpoint.may_download
    check_loras(loras)
    logger.info("loading %s on %s with plan %s, placed as %s", checkpoint.title, device, plan.title, plan.name)
    vae = AutoencoderKLWan.from_pretrained(location, subfolder="vae", dtype=torch.float32, local_files_only=offline)
    pipe = WanVACEPipeline.from_pretrained(
        location, vae=vae, text_encoder=None, tokenizer=None, dtype=dtype, local_files_only=offline
    )
    fuse_loras(pipe.transformer, loras)
    return pipe, apply_plan(pipe, plan, checkpoint.size, device, dtype)


def apply_plan(
    pipe: WanVACEPipeline, plan: Plan, size: Size, device: torch.device, dtype: torch.dtype
) -> FirstBlockCache | None:
    """Place and configure a pipeline as the plan says, in place; return its first-block cache, if the plan has one."""
    pipe.set_progress_bar_config(disable=True)
    if plan.sigmas:
        pipe.scheduler = DMDScheduler(plan.sigmas)
    else:
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=FLOW_SHIFT[size])
    if plan.tiling:
        pipe.vae.enable_tiling()
    storage = _storage_dtype(plan, device, dtype)
    if storage != dtype:
        pipe.transformer.enable_layerwise_casting(storage_dtype=storage, compute_dtype=dtype)
    cache = cache_first_block(pipe.transformer, plan.cache_threshold) if plan.cache_threshold else None
    if device.type == "cuda":
        _place_on_gpu(pipe, plan, device)
    return cache


def _place_on_gpu(pipe: WanVACEPipeline, plan: Plan, device: torch.device) -> None:
    """Apply what only a GPU has: offloading, its attention kernels, compiling."""
    if plan.offload:
        pipe.transformer.enable_group_offload(
            onload_device=device,
            offload_type=plan.offload,
            num_blocks_per_group=1 if plan.offload == "block_level" else None,
            use_stream=True,  # the next block arrives while this one computes
        )
        pipe.vae.to(device)
    else:
        pipe.to(device)
    if plan.attention:
        pipe.transformer.set_attention_backend(plan.attention)
    if plan.compiled:
        pipe.transformer.compile_repeated_blocks(fullgraph=True)


def load_encoder(checkpoint: Checkpoint, device: torch.device) -> Any:
    """Load a pipeline of the text encoder alone, for its `encode_prompt`. 11 GB in bf16."""
    _silence_libraries()
    location, offline = checkpoint.location(), not checkpoint.may_download
    # As published: with its own class, transformers 5 would rebuild it from the vocabulary by other rules.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(location, subfolder="tokenizer", local_files_only=offline)
    encoder = DiffusionPipeline.from_pretrained(
        location, tokenizer=tokenizer, transformer=None, vae=None, dtype=torch.bfloat16, local_files_only=offline
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
