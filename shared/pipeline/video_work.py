"""What a pipeline makes of a video, in terms that hold for all of it and for any part of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from shared.media.frame import Frame
from shared.media.frame_range import FrameRange

# From the frames of one range of the source to those of the result. Each range stands for itself: it may look at the
# frame behind it (`following`), and at nothing before it. What the tally counts is summed up for the task's details.
Transform = Callable[[FrameRange, "Counter[str]"], Iterator[Frame]]

Limited = Callable[[Iterator[Frame], int], Iterator[Frame]]


def _unlimited(frames: Iterator[Frame], _before: int) -> Iterator[Frame]:
    return frames


@dataclass(frozen=True)
class VideoWork:
    """What is to be made of a source.

    `size` is that of the result's frames (width, height), `multiple` how many of them a frame of the source becomes,
    `model` the name of what decides their pixels beside source and request. `frame_rate` and `time_base` are those of
    `encode`, as `sample_aspect_ratio` is. `segmented`: its ranges stand for themselves; else the video is made in one
    piece. `helped`: other runners may make segments of it. `limited` passes the source's frames on, of which so many
    came before, and raises where they are too much work.
    """

    transform: Transform
    size: tuple[int, int]
    model: str
    multiple: float = 1
    frame_rate: Fraction | None = None
    time_base: Fraction | None = None
    sample_aspect_ratio: Fraction | None = None
    segmented: bool = True
    helped: bool = True
    limited: Limited = _unlimited
