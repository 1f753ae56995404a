"""What an engine is asked for and what it returns; the pipeline knows nothing else about one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from services.creation.camera import Camera
from services.creation.memory import Memory
from services.creation.request import CreationRequest
from shared.arrays import Image

OnProgress = Callable[[float], None]  # called often with the progress, 0-1; what it raises stops the work
OnPicture = Callable[[Image], None]  # called now and then with a small picture of what the clip will look like


@dataclass(frozen=True)
class ClipSpec:
    """The clip that was asked for, in an engine's terms. Equal specs of the same pictures give equal frames."""

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
    references: tuple[Image, ...] = field(default=(), compare=False, repr=False)  # who or what is to appear
    on_picture: OnPicture | None = field(default=None, compare=False, repr=False)


class SourceFrames(Protocol):
    """The frames of a video, or of a range of it, to work from: upright, with square pixels, at any frame rate."""

    @property
    def ends(self) -> bool:
        """Whether the video ends with them; known once all are taken."""

    def frames(self, frame_rate: int) -> Iterator[Image]:
        """Yield the frames at the source's size or smaller; at the spec's rate about `ClipSpec.frame_count` of them."""

    def samples(self) -> Sequence[Image]:
        """Return a few frames spread over the whole video, to analyse before the work begins."""


@dataclass(frozen=True)
class Windows:
    """How an engine goes through a video at `frame_rate`: it makes `size` frames, then `step` more at a time."""

    frame_rate: int
    size: int
    step: int

    def count(self, frames: int) -> int:
        """Return how many windows a video of so many frames needs."""
        return 1 + max(0, -(-(frames - self.size) // self.step))


class Engine(Protocol):
    """Makes frames of exactly `ClipSpec.size`: `ClipSpec.frame_count` of them, or one for each frame of a video."""

    name: str
    area: int  # pixels of a frame, about
    multiple: int  # of pixels, which each side is
    reports_progress: bool  # through `on_progress`; otherwise the pipeline counts frames

    @property
    def made_with(self) -> str:
        """Name what decides the pixels of a video beside its spec and its source."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Return the model, the plan and so on for the task's details; final once the last frame is made."""

    def ignored(self, request: CreationRequest) -> list[str]:
        """Name the given fields that this engine cannot act on."""

    def warm(self) -> None:
        """Load what the first clip would load."""

    def from_text(self, spec: ClipSpec, on_progress: OnProgress) -> Iterator[Image]:
        """Make a clip of a prompt. Raises JobFailed where the engine cannot."""

    def from_picture(
        self, spec: ClipSpec, picture: Image, on_progress: OnProgress, last: Image | None = None
    ) -> Iterator[Image]:
        """Set a picture in motion; end with `last` where it is given. Raises JobFailed where the engine cannot."""

    def from_paths(self, spec: ClipSpec, source: SourceFrames, on_progress: OnProgress) -> Iterator[Image]:
        """Make a clip of a picture whose parts follow drawn paths, as `source` shows them; the first frame is the
        picture.
        """  # fmt: skip

    def windows(self, spec: ClipSpec) -> Windows | None:
        """Return in which windows a video is made, the longest of them that can be; None: frame by frame."""

    def from_video(
        self, spec: ClipSpec, source: SourceFrames, on_progress: OnProgress, memory: Memory | None = None
    ) -> Iterator[Image]:
        """Restyle a video, or the next range of one, with a `memory` of those before. Whatever was not made of a range
        when its frames end comes with the next one.
        """  # fmt: skip


def frame_count(duration_seconds: Fraction | float, frame_rate: int) -> int:
    """Return how many frames a clip of this length has."""
    return max(1, round(duration_seconds * frame_rate))


def not_default(request: CreationRequest, names: Sequence[str]) -> list[str]:
    """Return those of the fields whose value is not the default."""
    defaults: dict[str, Any] = {name: field.default for name, field in CreationRequest.model_fields.items()}
    return [name for name in names if getattr(request, name) != defaults[name]]
