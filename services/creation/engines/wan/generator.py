"""The VACE pipeline as a callable: one take in, its frames out."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from diffusers import WanVACEPipeline
from torch import Tensor

from services.creation.engine import Image, Step
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.first_block import FirstBlockCache
from services.creation.engines.wan.generation_request import Control, Take
from services.creation.engines.wan.loading import load_pipeline
from services.creation.engines.wan.plans import Plan
from services.creation.engines.wan.text_encoder import TextEncoder

GREY = 0.5  # where nothing leads: zero to the model


class VaceGenerator:
    """Wan with VACE as a plan has it, loaded at the first take and kept. Not thread-safe."""

    ignores: tuple[str, ...] = ()

    def __init__(self, checkpoint: Checkpoint, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
        self.plan = plan
        self._checkpoint, self._device, self._dtype = checkpoint, device, dtype
        self._encode = TextEncoder(checkpoint, plan.encoder, device)

    @property
    def details(self) -> dict[str, Any]:
        return {"model": self._checkpoint.title, "plan": self.plan.name, "steps": self.plan.steps}

    def warm(self) -> None:
        self._encode.warm()
        _ = self._loaded

    def __call__(self, take: Take, step: Step) -> list[Image]:
        """Encode, denoise, decode. Raises what `step` raises, and torch.OutOfMemoryError."""
        wanted, unwanted = self._encode(take.prompt, take.negative_prompt)  # before the rest: it needs the memory
        pipe, cache = self._loaded
        if cache:
            cache.reset()

        def told(_pipe: object, index: int, _time: object, _tensors: object) -> dict[str, Tensor]:
            step((index + 1) / self.plan.steps)
            return {}

        width, height = take.size
        with _livelier(pipe, take.control.liveliness if take.control else 1.0):
            frames = pipe(
                **self._conditions(take.control),
                prompt_embeds=wanted.to(self._device),
                negative_prompt_embeds=unwanted.to(self._device),
                guidance_scale=take.guidance,
                width=width,
                height=height,
                num_frames=take.frame_count,
                num_inference_steps=self.plan.steps,
                generator=torch.Generator().manual_seed(take.seed),  # on the CPU: the same noise everywhere
                callback_on_step_end=told,
                output_type="pt",
            ).frames[0]
        return _images(frames)

    @cached_property
    def _loaded(self) -> tuple[WanVACEPipeline, FirstBlockCache | None]:
        return load_pipeline(self._checkpoint, self.plan, self._device, self._dtype)

    def _conditions(self, control: Control | None) -> dict[str, Tensor]:
        """Return video (1, frames, 3, height, width) and mask (1, frames, 1, height, width), both 0-1."""
        if control is None:
            return {}
        height, width = next(lead.shape[:2] for lead in control.leads if lead is not None)
        count = len(control.leads)
        video = torch.full((1, count, 3, height, width), GREY, device=self._device)
        for index, lead in enumerate(control.leads):
            if lead is not None:
                video[0, index] = torch.from_numpy(lead).to(self._device).permute(2, 0, 1) / 255
        mask = torch.ones((1, count, 1, height, width), device=self._device)
        mask[:, : control.kept] = 0
        return {"video": video, "mask": mask}


@contextmanager
def _livelier(pipe: WanVACEPipeline, liveliness: float) -> Iterator[None]:
    """Have the pipeline's conditioning scaled for one take."""
    prepare = pipe.prepare_video_latents

    def prepared(*arguments: Any, **named: Any) -> Tensor:
        return enliven(prepare(*arguments, **named), liveliness)

    pipe.prepare_video_latents = prepared
    try:
        yield
    finally:
        pipe.prepare_video_latents = prepare


def enliven(latents: Tensor, liveliness: float) -> Tensor:
    """Scale how far the conditioning (1, 2C, T, H, W) departs from its first instant, about the mean of the departure.

    The first instant, which holds a kept picture, and the mean, which is the light of the scene, stay as they are;
    what grows is the contrast between the picture and what follows, and with it the motion.
    """
    if liveliness == 1:
        return latents
    first, later = latents[:, :, :1], latents[:, :, 1:]
    departure = later - first
    mean = departure.mean(dim=(3, 4), keepdim=True)
    return torch.cat([first, first + mean + liveliness * (departure - mean)], dim=2)


def _images(frames: Tensor) -> list[Image]:
    """Round (N, 3, H, W) 0-1 to pictures on the device, so that a byte a value travels and not four."""
    pictures = frames.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return list(pictures.cpu().numpy())
