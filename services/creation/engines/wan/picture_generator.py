"""Pictures set in motion by Wan's own image-to-video pipeline: Wan 2.2's I2V-A14B, and TI2V-5B, which knows texts."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image as Pillow
from torch import Tensor

from services.creation.engine import OnProgress
from services.creation.engines.wan.generation_request import Control, GenerationRequest
from services.creation.engines.wan.generator import WanGenerator, scale_motion
from shared.arrays import Image

MASK_CHANNELS = 4  # of the conditioning: which of the four frames of a latent are given; the others are the picture's


class PictureGenerator(WanGenerator):
    """Begins with a picture where there is one, and ends with another where the model can."""

    _from_picture: WanImageToVideoPipeline | None = None

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        """Return the frames; all that are to show the last picture are the one that the pipeline ends with."""
        frames = super().__call__(request, on_progress)
        at_end = request.control.kept_at_end if request.control else 0
        return [*frames[: len(frames) - at_end], *frames[-1:] * at_end]

    def _pipeline(self, loaded: Any, request: GenerationRequest) -> Any:
        """Take the pipeline that was loaded for texts; for a picture one of the same parts."""
        if request.control is None or isinstance(loaded, WanImageToVideoPipeline):
            return loaded
        if self._from_picture is None:
            self._from_picture = with_picture(loaded)
        return self._from_picture

    def _given(self, request: GenerationRequest) -> dict[str, Any]:
        if request.control is None:
            return {}
        first, *_, last = request.control.control_frames
        given = {"image": first, "last_image": last if request.control.kept_at_end else None}
        return {name: Pillow.fromarray(picture) for name, picture in given.items() if picture is not None}

    def _motion_scaled(self, pipe: Any, request: GenerationRequest) -> AbstractContextManager[None]:
        control: Control | None = request.control
        if control is None or pipe.config.expand_timesteps:  # there the conditioning is the picture alone
            return nullcontext()
        return _motion_scaled(pipe, control.motion_strength)


def with_picture(pipe: Any) -> WanImageToVideoPipeline:
    """Return the image-to-video pipeline of the parts of a text-to-video one, which stay where they are."""
    parts = {name: getattr(pipe, name) for name in ("vae", "scheduler", "transformer", "transformer_2")}
    own = {"boundary_ratio": pipe.config.boundary_ratio, "expand_timesteps": pipe.config.expand_timesteps}
    made = WanImageToVideoPipeline(tokenizer=None, text_encoder=None, **parts, **own)
    made.set_progress_bar_config(disable=True)
    return made


@contextmanager
def _motion_scaled(pipe: WanImageToVideoPipeline, motion_strength: float) -> Iterator[None]:
    """Scale how far the conditioning departs from the picture while one request runs."""
    prepare = pipe.prepare_latents

    def prepare_scaled(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        latents, condition = prepare(*args, **kwargs)
        mask, pictures = condition[:, :MASK_CHANNELS], condition[:, MASK_CHANNELS:]
        return latents, torch.cat([mask, scale_motion(pictures, motion_strength)], dim=1)

    pipe.prepare_latents = prepare_scaled
    try:
        yield
    finally:
        pipe.prepare_latents = prepare
