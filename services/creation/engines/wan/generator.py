"""The VACE pipeline as a callable: a request in, its frames out."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from diffusers import WanVACEPipeline
from torch import Tensor

from services.creation.engine import OnProgress
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.first_block import FirstBlockCache
from services.creation.engines.wan.generation_request import Control, GenerationRequest
from services.creation.engines.wan.images import to_images
from services.creation.engines.wan.loading import load_pipeline
from services.creation.engines.wan.plans import Plan
from services.creation.engines.wan.text_encoder import TextEncoder
from shared.arrays import Image

GREY = 0.5  # where there is no control frame: the model sees zero


class VaceGenerator:
    """Wan with VACE under a memory plan, loaded at the first request and kept. Not thread-safe."""

    ignores: tuple[str, ...] = ()

    def __init__(self, checkpoint: Checkpoint, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
        self._plan = plan
        self._checkpoint, self._device, self._dtype = checkpoint, device, dtype
        self._encode = TextEncoder(checkpoint, plan.encoder, device)

    @property
    def details(self) -> dict[str, Any]:
        return {"model": self._checkpoint.title, "plan": self._plan.name, "steps": self._plan.steps}

    def warm(self) -> None:
        self._encode.warm()
        _ = self._loaded

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        """Encode, denoise, decode. Raises what `on_progress` raises, and torch.OutOfMemoryError."""
        # Before the pipeline is loaded: the encoder needs its memory.
        wanted, unwanted = self._encode(request.prompt, request.negative_prompt)
        pipe, cache = self._loaded
        if cache:
            cache.reset()

        def on_step(_pipe: object, index: int, _time: object, _tensors: object) -> dict[str, Tensor]:
            on_progress((index + 1) / self._plan.steps)
            return {}

        width, height = request.size
        with _motion_scaled(pipe, request.control.motion_strength if request.control else 1.0):
            frames = pipe(
                **self._conditions(request.control),
                prompt_embeds=wanted.to(self._device),
                negative_prompt_embeds=unwanted.to(self._device),
                guidance_scale=request.guidance,
                width=width,
                height=height,
                num_frames=request.frame_count,
                num_inference_steps=self._plan.steps,
                generator=torch.Generator().manual_seed(request.seed),  # on the CPU: the same noise everywhere
                callback_on_step_end=on_step,
                output_type="pt",
            ).frames[0]
        return to_images(frames)

    @cached_property
    def _loaded(self) -> tuple[WanVACEPipeline, FirstBlockCache | None]:
        return load_pipeline(self._checkpoint, self._plan, self._device, self._dtype)

    def _conditions(self, control: Control | None) -> dict[str, Tensor]:
        """Return video (1, frames, 3, height, width) and mask (1, frames, 1, height, width), both 0-1."""
        if control is None:
            return {}
        height, width = next(frame.shape[:2] for frame in control.control_frames if frame is not None)
        count = len(control.control_frames)
        video = torch.full((1, count, 3, height, width), GREY, device=self._device)
        for index, frame in enumerate(control.control_frames):
            if frame is not None:
                video[0, index] = torch.from_numpy(frame).to(self._device).permute(2, 0, 1) / 255
        mask = torch.ones((1, count, 1, height, width), device=self._device)
        mask[:, : control.kept] = 0
        mask[:, count - control.kept_at_end :] = 0
        return {"video": video, "mask": mask}


@contextmanager
def _motion_scaled(pipe: WanVACEPipeline, motion_strength: float) -> Iterator[None]:
    """Scale the pipeline's conditioning while one request runs."""
    prepare = pipe.prepare_video_latents

    def prepare_scaled(*args: Any, **kwargs: Any) -> Tensor:
        return scale_motion(prepare(*args, **kwargs), motion_strength)

    pipe.prepare_video_latents = prepare_scaled
    try:
        yield
    finally:
        pipe.prepare_video_latents = prepare


def scale_motion(latents: Tensor, motion_strength: float) -> Tensor:
    """Scale how far the conditioning (1, 2C, T, H, W) departs from its first latent frame, about the mean departure.

    The first latent frame, which holds a kept picture, and the mean, which is the light of the scene, stay as they
    are; the contrast between the picture and what follows grows, and with it the motion.
    """
    if motion_strength == 1:
        return latents
    first, later = latents[:, :, :1], latents[:, :, 1:]
    departure = later - first
    mean = departure.mean(dim=(3, 4), keepdim=True)
    return torch.cat([first, first + mean + motion_strength * (departure - mean)], dim=2)
