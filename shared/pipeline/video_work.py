"""What a pipeline makes of a video, in terms that hold for all of it and for any part of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.pipeline.segment_plan import SegmentPlan

# From the frames of one range of the source to those of the result. Each range stands for itself: it may look at the
# frame behind it (`following`), and at nothing before it but what a `Memory` holds. What the tally counts is summed up
# for the task's details.
Transform = Callable[[FrameRange, "Counter[str]"], Iterator[Frame]]

Limited = Callable[[Iterator[Frame], int], Iterator[Frame]]


def _unlimited(frames: Iterator[Frame], _before: int) -> Iterator[Frame]:
    return frames


class Memory(Protocol):
    """What a transform remembers from frame to frame: it goes from each range to the next as bytes, and all that it has
    collected with it. The bytes of one moment and all that follows from them are the same in every attempt.
    """

    def begin(self, state: bytes | None) -> None:
        """Go on from where `state` was returned; None: at the beginning of the video."""

    def state(self) -> bytes:
        """Return all that is remembered behind the last frame of a range."""


@dataclass(frozen=True)
class VideoWork:
    """What is to be made of a source.

    `size` is that of the result's frames (width, height), `multiple` how many of them a frame of the source becomes,
    `model` the name of what decides their pixels beside source and request, `basis` whatever else does, such as the
    hash of a second input. `frame_rate` and `time_base` are those of `encode`, as `sample_aspect_ratio` is.
    Its ranges stand for themselves, or follow from the `memory` at the end of the one before. `limited` passes the
    source's frames on, of which so many came before, and raises where they are too much work.
    """

    transform: Transform
    size: tuple[int, int]
    model: str
    multiple: float = 1
    frame_rate: Fraction | None = None
    time_base: Fraction | None = None
    sample_aspect_ratio: Fraction | None = None
    basis: tuple[str, ...] = ()
    display_oriented: bool = False
    plan: SegmentPlan | None = None  # its ranges, where the model decides them
    memory: Memory | None = None
    limited: Limited = _unlimited

    @property
    def helped(self) -> bool:
        """Whether other runners may make segments of it: with a memory each one has to wait for the one before."""
        return self.memory is None
