"""Drafts: clips of texts on a machine without a GPU, in a few steps of a distilled model at a small size.

The memory of the text encoder (11 GB) and that of the rest (about 4 GB) are never held at the same time.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline

from services.creation.engine import Image, Step
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.draft_loading import ADAPTER, choose_precision, load_denoiser
from services.creation.engines.wan.draft_sampler import shares_for
from services.creation.engines.wan.draft_size import draft_size, enlarge
from services.creation.engines.wan.generation_request import Take
from services.creation.engines.wan.plans import Plan
from services.creation.engines.wan.text_encoder import TextEncoder
from shared import weights
from shared.networks.compute import choose_compute
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Upscaler
from shared.settings import Settings

DENOISED, DECODED = 0.75, 0.9  # shares of a take on a CPU, about, when the pictures are denoised and decoded
UPSCALER = "realesr-animevideov3"
GIVES_UP = "distilled to a few steps: guidance and the negative prompt do not act, less detail, calmer motion"

logger = logging.getLogger("bentoml.kinora.wan")


class DraftGenerator:
    """The draft plan, for texts alone; loaded at the first take. Not thread-safe."""

    ignores: tuple[str, ...] = ("ng_prompt_cn", "ng_prompt_en", "guidance")

    def __init__(self, checkpoint: Checkpoint, plan: Plan, settings: Settings) -> None:
        self.plan = plan
        self._checkpoint, self._settings = checkpoint, settings
        self._compute = choose_precision(settings)
        self._encode = TextEncoder(checkpoint, plan.encoder, self._compute.device)
        self._pipe: WanPipeline | None = None
        self._upscaler: Upscaler | None = None

    @property
    def details(self) -> dict[str, Any]:
        steps = len(shares_for(adapter=self._has_adapter()))
        return {"model": self._checkpoint.title, "plan": self.plan.name, "steps": steps, "gives_up": GIVES_UP}

    def warm(self) -> None:
        """Check the files and load the upscaling network: the rest gives way to the text encoder at each new text."""
        self._folder()
        self._enlarger()

    def __call__(self, take: Take, step: Step) -> list[Image]:
        """Encode, denoise and decode at a small size, upscale. Raises what `step` raises, and OutOfMemoryError."""
        if take.prompt not in self._encode:
            self._pipe = None
        (embedding,) = self._encode(take.prompt)
        self._pipe = self._pipe or load_denoiser(self._folder(), self._compute)
        frames = denoise(self._pipe, take, embedding, lambda done: step(DENOISED * done))
        step(DECODED)

        def told(count: int) -> None:
            step(DECODED + (1 - DECODED) * count / len(frames))

        return list(enlarge(frames, take.size, self._enlarger(), told))

    def _folder(self) -> Path:
        """Return where the model lies; a repository of the hub is looked up in its cache, or fetched where allowed."""
        location = self._checkpoint.location()
        if self._checkpoint.where != "hub":
            return Path(location)
        from huggingface_hub import snapshot_download  # noqa: PLC0415  # only those pay who name a repository

        return Path(snapshot_download(location, local_files_only=not self._checkpoint.may_download))

    def _has_adapter(self) -> bool:
        return (self._folder() / ADAPTER).exists()

    def _enlarger(self) -> Upscaler:
        """Return the upscaling network. JobFailed with the command that pulls it where it is missing."""
        if self._upscaler is None:
            network = SRVGG.from_weights(weights.load_safetensors(UPSCALER)).anchored()
            self._upscaler = Upscaler(network, choose_compute(self._settings.device), name=UPSCALER)
        return self._upscaler


def denoise(pipe: WanPipeline, take: Take, embedding: torch.Tensor, step: Step) -> list[Image]:
    """Return a take's frames at the draft's own size: denoised, decoded, (height, width, 3)."""
    steps = pipe.scheduler.count

    def told(_pipe: object, index: int, _time: object, _tensors: object) -> dict[str, torch.Tensor]:
        step((index + 1) / steps)
        return {}

    width, height = draft_size(take.size)
    generator = torch.Generator().manual_seed(take.seed % 2**64)  # on the CPU: the same noise everywhere
    pipe.scheduler.begin(generator)
    frames = pipe(
        prompt_embeds=embedding.to(pipe.device),
        guidance_scale=1.0,  # what it was distilled at; the pipeline then asks for no negative prompt
        width=width,
        height=height,
        num_frames=take.frame_count,
        num_inference_steps=steps,
        generator=generator,
        callback_on_step_end=told,
        output_type="pt",
    ).frames[0]
    pictures = frames.float().mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return list(pictures.cpu().numpy())
