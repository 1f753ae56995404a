"""Drafts: clips of texts on a machine without a GPU, in a few steps of a distilled model at a small size.

The text encoder (11 GB) and the rest (about 4 GB) are never in memory at the same time.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline

from services.creation.engine import OnProgress
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.decoding import Decoding
from services.creation.engines.wan.dmd_scheduler import sigmas_for
from services.creation.engines.wan.draft_loading import ADAPTER, choose_precision, load_denoiser
from services.creation.engines.wan.draft_size import draft_size, enlarge
from services.creation.engines.wan.generation_request import GenerationRequest
from services.creation.engines.wan.loras import named_loras
from services.creation.engines.wan.plans import Plan
from services.creation.engines.wan.text_encoder import TextEncoder
from shared import weights
from shared.arrays import Image
from shared.networks.compute import choose_compute
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Upscaler
from shared.settings import Settings
from shared.weights.upscalers import UPSCALERS

DENOISED, DECODED = 0.75, 0.9  # progress after denoising and after decoding: their share of the time on a CPU, about
UPSCALER = UPSCALERS["animevideov3"].name
GIVES_UP = "distilled to a few steps: guidance and the negative prompt do not act, less detail, calmer motion"


class DraftGenerator:
    """The generator of the draft plan, for texts only; loaded at the first request. Not thread-safe."""

    ignores: tuple[str, ...] = ("ng_prompt_cn", "ng_prompt_en", "guidance")

    def __init__(self, checkpoint: Checkpoint, plan: Plan, settings: Settings) -> None:
        self._plan = plan
        self._checkpoint, self._settings = checkpoint, settings
        self._compute = choose_precision(settings)
        self._decoding = Decoding(plan, settings, self._compute)
        self._encode = TextEncoder(checkpoint, plan.encoder, self._compute.device)
        self._pipe: WanPipeline | None = None
        self._upscaler: Upscaler | None = None

    @property
    def details(self) -> dict[str, Any]:
        steps = len(sigmas_for(adapter=self._has_adapter()))
        named = {"model": self._checkpoint.title, "plan": self._plan.name, "decoder": self._decoding.name}
        return {**named, **named_loras(self._settings), "steps": steps, "gives_up": GIVES_UP}

    def warm(self) -> None:
        """Check the files and load the upscaling network: the rest is freed for the text encoder at each new prompt."""
        model_folder(self._checkpoint)
        self._load_upscaler()

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        """Encode, denoise and decode at a small size, upscale. Raises what `on_progress` raises; OutOfMemoryError."""
        if request.prompt not in self._encode:
            self._pipe = None
        (embedding,) = self._encode(request.prompt)
        folder, with_vae = model_folder(self._checkpoint), not self._decoding.is_tiny
        loras = self._settings.creation.loras
        self._pipe = self._pipe or load_denoiser(folder, self._compute, with_vae=with_vae, loras=loras)
        frames = denoise(self._pipe, request, embedding, lambda done: on_progress(DENOISED * done), self._decoding)
        on_progress(DECODED)

        def on_frame(count: int) -> None:
            on_progress(DECODED + (1 - DECODED) * count / len(frames))

        return list(enlarge(frames, request.size, self._load_upscaler(), on_frame))

    def _has_adapter(self) -> bool:
        return (model_folder(self._checkpoint) / ADAPTER).exists()

    def _load_upscaler(self) -> Upscaler:
        """Return the upscaling network. Raises JobFailed, with the command that pulls its weights, without them."""
        if self._upscaler is None:
            network = SRVGG.from_weights(weights.load_safetensors(UPSCALER)).anchored()
            self._upscaler = Upscaler(network, choose_compute(self._settings.device), name=UPSCALER)
        return self._upscaler


def model_folder(checkpoint: Checkpoint) -> Path:
    """Return a model's folder; a repository of the hub is looked up in the cache, or fetched where allowed."""
    location = checkpoint.location()
    if checkpoint.where != "hub":
        return Path(location)
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # slow to import, and only a repository needs it

    return Path(snapshot_download(location, local_files_only=not checkpoint.may_download))


def denoise(
    pipe: WanPipeline,
    request: GenerationRequest,
    embedding: torch.Tensor,
    on_progress: OnProgress,
    decoding: Decoding,
) -> list[Image]:
    """Return the request's frames at the draft's own size: denoised, decoded, (height, width, 3)."""
    steps = pipe.scheduler.count

    def on_step(_pipe: object, index: int, _time: object, _tensors: object) -> dict[str, torch.Tensor]:
        on_progress((index + 1) / steps)
        decoding.show(pipe.scheduler, index, steps, request.on_picture)
        return {}

    width, height = draft_size(request.size)
    generator = torch.Generator().manual_seed(request.seed % 2**64)  # on the CPU: the same noise everywhere
    pipe.scheduler.begin(generator)
    made = pipe(
        prompt_embeds=embedding.to(pipe.device),
        guidance_scale=1.0,  # what it was distilled for; the pipeline then uses no negative prompt
        width=width,
        height=height,
        num_frames=request.frame_count,
        num_inference_steps=steps,
        generator=generator,
        callback_on_step_end=on_step,
        output_type=decoding.output_type,
    ).frames
    return decoding.images(made)
