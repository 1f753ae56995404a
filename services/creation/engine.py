"""What an engine is asked for and what it must answer; the pipeline knows nothing else about one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.creation.camera import Camera
from services.creation.request import CreationRequest

Image = NDArray[np.uint8]  # (height, width, 3) RGB
Step = Callable[[float], None]  # told how far the work is, 0-1, as often as it may be stopped: raises to stop it


@dataclass(frozen=True)
class Shot:
    """The clip that was asked for, in an engine's terms. Two equal shots of one material give equal frames."""

    size: tuple[int, int]  # width, height
    frame_rate: int
    frame_count: int
    seed: int
    movement: int  # 0-4
    camera: Camera
    style: int  # of a video: 0 its own, 1 anime, 2 pixel
    prompt: str
    negative_prompt: str
    guidance: int  # 8-24


class Footage(Protocol):
    """A video as material: upright, with square pixels, at any frame rate."""

    def frames(self, frame_rate: int) -> Iterator[Image]:
        """Yield the frames at the size of the source or smaller; at the shot's rate about `Shot.frame_count`."""

    def samples(self) -> Sequence[Image]:
        """Return a few frames from all over the clip, to look at before it is worked on."""


class Engine(Protocol):
    """Makes frames of exactly `Shot.size`, one for each of `Shot.frame_count` (with footage, one for each of its)."""

    name: str
    area: int  # pixels of a frame, about
    tells_progress: bool  # through `step`; otherwise each frame counts as it comes

    @property
    def details(self) -> Mapping[str, Any]:
        """Tell what worked, for the task's details: model, plan; true once the last frame is made."""

    def ignored(self, request: CreationRequest) -> list[str]:
        """Name the given fields that this engine cannot act on."""

    def warm(self) -> None:
        """Load what the first clip would load."""

    def from_text(self, shot: Shot, step: Step) -> Iterator[Image]:
        """Make a clip of a prompt; raise JobFailed where the engine makes none."""

    def from_picture(self, shot: Shot, picture: Image, step: Step) -> Iterator[Image]:
        """Set a picture in motion."""

    def from_video(self, shot: Shot, footage: Footage, step: Step) -> Iterator[Image]:
        """Restyle a video."""


def frame_count(duration_seconds: Fraction | float, frame_rate: int) -> int:
    """Return how many frames a clip of this length has."""
    return max(1, round(duration_seconds * frame_rate))


def not_default(request: CreationRequest, names: Sequence[str]) -> list[str]:
    """Return those of the fields that hold something else than they do when they are not given."""
    defaults: dict[str, Any] = {name: field.default for name, field in CreationRequest.model_fields.items()}
    return [name for name in names if getattr(request, name) != defaults[name]]
