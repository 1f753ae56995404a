"""A take: one run of denoising, and what makes one."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from services.creation.engine import Image, Step

FRAME_RATE = 16  # what Wan's models were trained at, and the rate of every take
GROUP = 4  # frames that share a latent; the first frame has one of its own


@dataclass(frozen=True)
class Control:
    """What leads a take besides words: a picture for each frame, None for one that is left to the model."""

    leads: tuple[Image | None, ...]
    kept: int = 0  # how many frames at the beginning are shown as they are instead of being imitated
    liveliness: float = 1.0  # how far the model may depart from a kept picture; 1 is the model's own


@dataclass(frozen=True)
class Take:
    """What is denoised at once. Two equal takes give equal frames."""

    prompt: str
    negative_prompt: str
    guidance: float  # the model's own scale
    seed: int
    size: tuple[int, int]  # width, height; multiples of 16
    frame_count: int  # 4k+1
    control: Control | None = None


class Generator(Protocol):
    """Makes takes with one loaded model."""

    @property
    def details(self) -> dict[str, Any]:
        """What is at work, for the task's details: model, plan, steps."""

    @property
    def ignores(self) -> tuple[str, ...]:
        """Name the fields of a request that this model cannot act on."""

    def warm(self) -> None:
        """Load what the first take would load."""

    def __call__(self, take: Take, step: Step) -> list[Image]:
        """Return the frames, (height, width, 3), at 16 a second; `step` is told the share, 0-1, that is done."""


def whole_groups(frames: float) -> int:
    """Return the smallest length of a take, 4k+1, that is at least so many frames."""
    return GROUP * max(0, math.ceil((frames - 1) / GROUP)) + 1


def native_length(frame_count: int, frame_rate: int) -> int:
    """Return how long a take must be to fill so many frames at another rate."""
    return whole_groups(math.ceil(Fraction(frame_count * FRAME_RATE, frame_rate)))


def model_guidance(guidance: int, optimum: float) -> float:
    """Map the contract's 8-24 onto a model's scale: 8 is 0.6 of its optimum, 12 the optimum, 24 half as much more."""
    if guidance <= 12:  # noqa: PLR2004  # the contract's default
        return optimum * (0.6 + 0.4 * (guidance - 8) / 4)
    return optimum * (1 + 0.5 * (guidance - 12) / 12)
