"""A video as an engine wants it: upright, with square pixels, no larger than needed, at the asked frame rate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

import cv2
import numpy as np

from services.creation.engine import Image, Shot
from shared.media.decode import VideoSource
from shared.media.frame import Frame, Picture, upright

Between = Callable[[Image, Image, float], Image]  # two frames and a position in (0, 1) between them

SAMPLES = 8
NEAR = Fraction(1, 8)  # of the gap between two frames: an instant so near to one of them is that one
NEARLY = Fraction(11, 10)  # a source this little slower than the wanted rate needs no made-up frames
LONGEST_GAP_SECONDS = Fraction(1, 4)  # a frame that stands longer than this is meant to stand
CUT = 32.0  # mean change of a thumbnail, in levels of 255, that no motion makes from one frame to the next
ROOM = 1.25  # how much larger than the result footage is kept, for a camera to move in


class SourceFootage:
    """A `VideoSource` as footage for a shot; frames that it lacks come from `between`."""

    def __init__(self, source: VideoSource, shot: Shot, between: Between) -> None:
        self._source = source
        self._frame_rate = shot.frame_rate
        self._between = between
        room = ROOM if shot.camera else 1.0
        self._useful = room * shot.size[0], room * shot.size[1]

    def frames(self) -> Iterator[Image]:
        shown = ((self._presented(frame.image), frame) for frame in self._source.frames())
        return resample(shown, self._source.time_base, self._frame_rate, self._between)

    def samples(self) -> Sequence[Image]:
        count = self._source.frame_count or 1
        indices = sorted({index * count // SAMPLES + count // (2 * SAMPLES) for index in range(SAMPLES)})
        return [self._presented(self._source.frame_at(index).image) for index in indices]

    def _presented(self, picture: Picture) -> Image:
        """Bring a stored picture to 8 bits and the shape a player shows, shrunk to what the result can use."""
        if picture.dtype == np.uint16:
            picture = (picture >> 8).astype(np.uint8)
        height, width = picture.shape[:2]
        stretch = self._source.sample_aspect_ratio or 1
        shown = Fraction(width) * Fraction(stretch), Fraction(height)
        turned = self._source.rotation % 180 != 0
        wide, high = (shown[1], shown[0]) if turned else shown
        shrink = min(1.0, max(self._useful[0] / wide, self._useful[1] / high))
        wanted = max(1, round(shown[0] * shrink)), max(1, round(shown[1] * shrink))
        if wanted != (width, height):
            picture = cv2.resize(picture, wanted, interpolation=cv2.INTER_AREA)
        return np.asarray(upright(picture, self._source.rotation), np.uint8)


def resample(
    shown: Iterable[tuple[Image, Frame]], time_base: Fraction, frame_rate: int, between: Between
) -> Iterator[Image]:
    """Yield a picture for every instant k/frame_rate until the last frame ends: real motion, at another rate.

    An instant near a frame is that frame; otherwise `between` makes it, where the source is slower than the wanted
    rate, or the nearest frame stands in. `shown` pairs each picture with the frame that tells its time.
    """
    instant = 0
    previous: Image | None = None
    start = end = Fraction(0)
    for picture, frame in shown:
        now = frame.pts * time_base
        while Fraction(instant, frame_rate) < now:
            moment = Fraction(instant, frame_rate)
            yield picture if previous is None else _at(moment, (previous, start), (picture, now), frame_rate, between)
            instant += 1
        previous, start, end = picture, now, now + frame.duration * time_base
    if previous is None:
        return
    for _ in range(instant, max(1, round(end * frame_rate))):
        yield previous


def _at(
    moment: Fraction, before: tuple[Image, Fraction], after: tuple[Image, Fraction], frame_rate: int, between: Between
) -> Image:
    gap = after[1] - before[1]
    position = (moment - before[1]) / gap
    slower = gap * frame_rate > NEARLY
    if gap > LONGEST_GAP_SECONDS:
        return before[0]
    if not slower or min(position, 1 - position) < NEAR or is_cut(before[0], after[0]):
        return (before if position < Fraction(1, 2) else after)[0]
    return between(before[0], after[0], float(position))


def is_cut(before: Image, after: Image) -> bool:
    """Tell two shots from two moments of one: nothing lies between those, so nothing may be made up there."""
    small = [
        cv2.resize(picture, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32) for picture in (before, after)
    ]
    return float(np.abs(small[0] - small[1]).mean()) > CUT
