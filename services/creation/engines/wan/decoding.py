"""How a plan turns latents into pictures: all of them at the end, and one of them after each step."""

from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from services.creation.engine import OnPicture
from services.creation.engines.wan.images import to_images
from services.creation.engines.wan.plans import Plan
from services.creation.engines.wan.preview import is_due, picture_of, predicted
from services.creation.engines.wan.tiny_decoder import NAME, TinyDecoder, load_tiny_decoder
from shared import weights
from shared.arrays import Image
from shared.networks.compute import Compute
from shared.settings import Settings


class Decoding:
    """The VAE's own decoder, or the tiny one, which also shows the clip on the way where its weights are here."""

    def __init__(self, plan: Plan, settings: Settings, compute: Compute, *, tiny: str | None = NAME) -> None:
        """`tiny` is the entry of the small decoder for the model's latents; None: there is none, the VAE decodes."""
        is_here = tiny == NAME and weights.exists(NAME)
        wanted = settings.creation.decoder
        self.is_tiny = (wanted == "tiny" and tiny == NAME) or (wanted == "auto" and plan.tiny_decoder and is_here)
        self._shows = settings.creation.previews and is_here
        self._compute = compute

    @property
    def name(self) -> str:
        """Which decoder it is, for the task's details."""
        return NAME if self.is_tiny else "vae"

    @property
    def output_type(self) -> Literal["latent", "pt"]:
        """What the pipeline is asked for: latents, or frames that its VAE has decoded."""
        return "latent" if self.is_tiny else "pt"

    def images(self, made: Tensor, *, references: int = 0) -> list[Image]:
        """Return the pictures of what the pipeline has made, whose first latents may be those of references."""
        return list(self._decoder.images(made[:, :, references:])) if self.is_tiny else to_images(made[0])

    def show(
        self, scheduler: Any, index: int, steps: int, on_picture: OnPicture | None, *, references: int = 0
    ) -> None:
        """Show what the scheduler's step, counted from 0, has predicted."""
        if on_picture is None or not self._shows or not is_due(index, steps):
            return
        latents = predicted(scheduler)
        if latents is not None:
            on_picture(picture_of(self._decoder, latents[:, :, references:]))

    @cached_property
    def _decoder(self) -> TinyDecoder:
        return load_tiny_decoder(self._compute)
