"""A pipeline as a callable: a request in, its frames out."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any

import torch
from diffusers import WanVACEPipeline
from PIL import Image as Pillow
from torch import Tensor

from services.creation.engine import OnProgress
from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.decoding import Decoding
from services.creation.engines.wan.few_steps import IGNORES, loras_for, named_plan
from services.creation.engines.wan.first_block import Caches
from services.creation.engines.wan.generation_request import Control, GenerationRequest
from services.creation.engines.wan.loading import load_pipeline
from services.creation.engines.wan.loras import named_loras
from services.creation.engines.wan.plans import Plan
from services.creation.engines.wan.text_encoder import TextEncoder
from shared.arrays import Image
from shared.networks.compute import Compute
from shared.settings import Settings

GREY = 0.5  # where there is no control frame: the model sees zero


class WanGenerator:
    """A pipeline for texts under a memory plan, loaded at the first request and kept. Not thread-safe.

    What it is given besides words, another class adds: `_pipeline`, `_given` and `_motion_scaled`.
    """

    def __init__(self, checkpoint: Checkpoint, plan: Plan, compute: Compute, settings: Settings) -> None:
        self.ignores = IGNORES if plan.sigmas else ()
        self._plan, self._settings = plan, settings
        self._checkpoint, self._device, self._dtype = checkpoint, compute.device, compute.dtype
        self._encode = TextEncoder(checkpoint, plan.encoder, compute.device)
        self._decoding = Decoding(plan, settings, compute, tiny=checkpoint.model.tiny_decoder)

    @property
    def details(self) -> dict[str, Any]:
        plan = named_plan(self._checkpoint, self._plan)
        named = {"model": self._checkpoint.title, **plan, "decoder": self._decoding.name}
        return {**named, **named_loras(self._settings), "steps": self._plan.steps}

    def warm(self) -> None:
        self._encode.warm()
        _ = self._loaded

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        """Encode, denoise, decode. Raises what `on_progress` raises, and torch.OutOfMemoryError."""
        # Before the pipeline is loaded: the encoder needs its memory.
        guidance = self._guidance(request)
        loaded, cache = self._loaded
        if cache:
            cache.reset()
        pipe = self._pipeline(loaded, request)

        count = len(request.references)  # whose latents stand before those of the clip
        show = partial(self._decoding.show, references=count)

        def on_step(_pipe: object, index: int, _time: object, _tensors: object) -> dict[str, Tensor]:
            on_progress((index + 1) / self._plan.steps)
            show(pipe.scheduler, index, self._plan.steps, request.on_picture)
            return {}

        generator = torch.Generator().manual_seed(request.seed)  # on the CPU: the same noise everywhere
        if self._plan.sigmas:
            pipe.scheduler.begin(generator)
        width, height = request.size
        with self._motion_scaled(pipe, request):
            made = pipe(
                **self._given(request),
                **guidance,
                width=width,
                height=height,
                num_frames=request.frame_count,
                num_inference_steps=self._plan.steps,
                generator=generator,
                callback_on_step_end=on_step,
                output_type=self._decoding.output_type,
            ).frames
        return self._decoding.images(made, references=count)

    @cached_property
    def _loaded(self) -> tuple[Any, Caches | None]:
        loras = loras_for(self._checkpoint, self._plan, self._settings)
        return load_pipeline(self._checkpoint, self._plan, self._device, self._dtype, loras=loras)

    def _pipeline(self, loaded: Any, _request: GenerationRequest) -> Any:
        """Return the pipeline that serves a request, of the same parts as the one that was loaded."""
        return loaded

    def _given(self, _request: GenerationRequest) -> dict[str, Any]:
        """Return what the pipeline is given besides words."""
        return {}

    def _motion_scaled(self, _pipe: Any, _request: GenerationRequest) -> AbstractContextManager[None]:
        """Scale the pipeline's conditioning by the motion strength while one request runs."""
        return nullcontext()

    def _guidance(self, request: GenerationRequest) -> dict[str, Any]:
        """Return the encoded texts with the guidance; a distilled model makes no pass for the unwanted one."""
        if self._plan.sigmas:
            (wanted,) = self._encode(request.prompt)
            return {"prompt_embeds": wanted.to(self._device), "guidance_scale": 1.0}
        wanted, unwanted = (text.to(self._device) for text in self._encode(request.prompt, request.negative_prompt))
        texts = {"prompt_embeds": wanted, "negative_prompt_embeds": unwanted}
        return {**texts, "guidance_scale": request.guidance, **self._second_guidance(request)}

    def _second_guidance(self, request: GenerationRequest) -> dict[str, float]:
        """Return the guidance of the second transformer, as far from its optimum as that of the first from its own."""
        model = self._checkpoint.model
        if model.guidance_2 is None:
            return {}
        return {"guidance_scale_2": model.guidance_2 * request.guidance / model.guidance}


class VaceGenerator(WanGenerator):
    """Wan with VACE: texts, pictures, videos and references in one pipeline."""

    def _given(self, request: GenerationRequest) -> dict[str, Any]:
        return {**self._conditions(request.control), **_references(request)}

    def _motion_scaled(self, pipe: Any, request: GenerationRequest) -> AbstractContextManager[None]:
        strength = request.control.motion_strength if request.control else 1.0
        return _motion_scaled(pipe, strength, references=len(request.references))

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


def _references(request: GenerationRequest) -> dict[str, list[Pillow.Image]]:
    """Return the references, none larger than the clip: the pipeline sets each whole into its frame, on white."""
    shrunk = []
    for reference in request.references:
        picture = Pillow.fromarray(reference)
        picture.thumbnail(request.size, Pillow.Resampling.LANCZOS)
        shrunk.append(picture)
    return {"reference_images": shrunk} if shrunk else {}


@contextmanager
def _motion_scaled(pipe: WanVACEPipeline, motion_strength: float, *, references: int) -> Iterator[None]:
    """Scale the pipeline's conditioning while one request runs."""
    prepare = pipe.prepare_video_latents

    def prepare_scaled(*args: Any, **kwargs: Any) -> Tensor:
        latents = prepare(*args, **kwargs)
        clip = scale_motion(latents[:, :, references:], motion_strength)
        return torch.cat([latents[:, :, :references], clip], dim=2)

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
