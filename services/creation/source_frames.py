"""A video as an engine wants it: upright, with square pixels, no larger than needed, at the asked frame rate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from services.creation.engine import ClipSpec
from services.creation.memory import Memory
from shared.arrays import Image, Picture
from shared.media.decode import VideoSource
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.media.orientation import upright
from shared.media.shot_boundary import CutDetector

Interpolate = Callable[[Image, Image, float], Image]  # two frames and a position in (0, 1) between them

SAMPLES = 8
NEAR_FRAME = Fraction(1, 8)  # of the gap between two frames: an instant this close to a frame shows that frame
NEARLY_AS_FAST = Fraction(11, 10)  # a source this little slower than the wanted rate needs no interpolated frames
LONGEST_GAP_SECONDS = Fraction(1, 4)  # a frame that is shown for longer than this is a still on purpose
OVERSCAN = 1.25  # how much larger than the result the source is kept, so that a camera can move in it


class DecodedSourceFrames:
    """The frames of a range of a `VideoSource` for a clip; those that it lacks come from `interpolate`."""

    def __init__(
        self, video: VideoSource, spec: ClipSpec, interpolate: Interpolate, frames: FrameRange, memory: Memory
    ) -> None:
        self._video = video
        self._range = frames
        self._memory = memory
        self._interpolate = interpolate
        overscan = OVERSCAN if spec.camera else 1.0
        self._needed = overscan * spec.size[0], overscan * spec.size[1]  # width, height

    @property
    def ends(self) -> bool:
        return self._range.following is None

    def frames(self, frame_rate: int) -> Iterator[Image]:
        timed = ((self._displayed(frame.image), frame) for frame in self._and_following())
        part = Part(self._memory, "source", lambda: self.ends)
        return resample(timed, self._video.time_base, frame_rate, self._interpolate, part)

    def samples(self) -> Sequence[Image]:
        count = self._video.frame_count or 1
        indices = sorted({index * count // SAMPLES + count // (2 * SAMPLES) for index in range(SAMPLES)})
        return [self._displayed(self._video.frame_at(index).image) for index in indices]

    def _and_following(self) -> Iterator[Frame]:
        yield from self._range
        if self._range.following is not None:
            yield self._range.following

    def _displayed(self, picture: Picture) -> Image:
        """Bring a stored picture to 8 bits and the shape a player shows, shrunk to what the result can use."""
        if picture.dtype == np.uint16:
            picture = (picture >> 8).astype(np.uint8)
        height, width = picture.shape[:2]
        stretched = Fraction(width) * Fraction(self._video.sample_aspect_ratio or 1), Fraction(height)
        turned = self._video.orientation.swaps_sides
        wide, high = (stretched[1], stretched[0]) if turned else stretched
        shrink = min(1.0, max(self._needed[0] / wide, self._needed[1] / high))
        size = max(1, round(stretched[0] * shrink)), max(1, round(stretched[1] * shrink))
        if size != (width, height):
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return np.asarray(upright(picture, self._video.orientation), np.uint8)


@dataclass(frozen=True)
class Part:
    """One of the ranges into which a row of frames may be cut: what is remembered of those before, under which name,
    and whether it is the last, which is asked at its end.
    """

    memory: Memory = field(default_factory=Memory)
    name: str = ""
    is_last: Callable[[], bool] = lambda: True


def resample(
    timed: Iterable[tuple[Image, Frame]],
    time_base: Fraction,
    frame_rate: int,
    interpolate: Interpolate,
    part: Part | None = None,
) -> Iterator[Image]:
    """Yield a picture for every instant k/frame_rate until the last frame ends: real motion, at another rate.

    An instant near a frame shows that frame. Otherwise `interpolate` makes one where the source is slower than the
    wanted rate, and the nearest frame is repeated elsewhere. `timed` pairs each picture with the frame that holds its
    time. Each `part` but the first begins with the frame that the one before ended with.
    """
    part = part or Part()
    index = part.memory.count(f"{part.name} instants")
    cuts = CutDetector(part.memory.number(f"{part.name} usual", 1.0))
    previous: Image | None = None
    start = end = Fraction(0)
    for picture, frame in timed:
        now = frame.pts * time_base
        is_cut = previous is not None and cuts.is_cut(previous, picture)
        while (instant := Fraction(index, frame_rate)) < now:
            if previous is None:
                yield picture
            elif _needs_interpolation(instant, start, now, frame_rate) and not is_cut:
                yield interpolate(previous, picture, float((instant - start) / (now - start)))
            else:
                nearer = now - instant <= instant - start and now - start <= LONGEST_GAP_SECONDS
                yield picture if nearer else previous
            index += 1
        previous, start, end = picture, now, now + frame.duration * time_base
    part.memory.keep(f"{part.name} instants", index)
    part.memory.keep(f"{part.name} usual", cuts.usual)
    if previous is None or not part.is_last():
        return
    for _ in range(index, max(1, round(end * frame_rate))):
        yield previous


def _needs_interpolation(instant: Fraction, start: Fraction, end: Fraction, frame_rate: int) -> bool:
    """Whether neither of the frames at `start` and `end` (seconds) can be shown at an instant between them."""
    gap = end - start
    position = (instant - start) / gap
    return LONGEST_GAP_SECONDS >= gap > NEARLY_AS_FAST / frame_rate and min(position, 1 - position) >= NEAR_FRAME
