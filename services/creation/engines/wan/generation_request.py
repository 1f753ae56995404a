"""What a model is asked for in one run of denoising, and what a model must be."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from services.creation.engine import OnPicture, OnProgress
from shared.arrays import Image

GROUP = 4  # frames that share a latent; the first frame has one of its own


@dataclass(frozen=True)
class Control:
    """What guides a run besides words: a picture for each frame, None for one that is left to the model."""

    control_frames: tuple[Image | None, ...]
    kept: int = 0  # how many of the first frames are kept as they are; the others are imitated
    kept_at_end: int = 0  # how many of the last frames are
    motion_strength: float = 1.0  # how far the model may depart from a kept picture; 1 is the model's own


@dataclass(frozen=True)
class GenerationRequest:
    """What is denoised in one run. Equal requests give equal frames."""

    prompt: str
    negative_prompt: str
    guidance: float  # the model's own scale
    seed: int
    size: tuple[int, int]  # width, height; multiples of the model's
    frame_count: int  # 4k+1
    control: Control | None = None
    references: tuple[Image, ...] = ()  # who or what is to appear, in any size
    on_picture: OnPicture | None = field(default=None, compare=False)


class Generator(Protocol):
    """Makes the frames of a request with one loaded model."""

    @property
    def details(self) -> dict[str, Any]:
        """Return the model, the plan and the steps, for the task's details."""

    @property
    def ignores(self) -> tuple[str, ...]:
        """Name the fields of a creation request that this model cannot act on."""

    def warm(self) -> None:
        """Load what the first request would load."""

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        """Return frames, (height, width, 3), at the model's rate; `on_progress` gets the progress of this run, 0-1."""


def whole_groups(frames: float) -> int:
    """Return the smallest length of a run, 4k+1, that is at least so many frames."""
    return GROUP * max(0, math.ceil((frames - 1) / GROUP)) + 1


def native_length(frame_count: int, frame_rate: int, native: int) -> int:
    """Return how many frames a model with a rate of `native` must make to fill `frame_count` at `frame_rate`."""
    return whole_groups(math.ceil(Fraction(frame_count * native, frame_rate)))


def longest_run(window: int, frame_count: int, frame_rate: int, native: int) -> float | None:
    """Return the seconds of a run of `window` frames where `frame_count` at `frame_rate` are more; otherwise None."""
    return (window - 1) / native if native_length(frame_count, frame_rate, native) > window else None


def model_guidance(guidance: int, optimum: float) -> float:
    """Map the contract's 8-24 to a model's scale: 8 is 0.6 of its optimum, 12 the optimum, 24 1.5 of it."""
    if guidance <= 12:  # noqa: PLR2004  # the contract's default
        return optimum * (0.6 + 0.4 * (guidance - 8) / 4)
    return optimum * (1 + 0.5 * (guidance - 12) / 12)
