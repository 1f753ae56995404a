"""A video as an engine wants it: upright, with square pixels, no larger than needed, at the asked frame rate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

import cv2
import numpy as np

from services.creation.engine import Image, Shot
from shared.arrays import Picture
from shared.media.decode import VideoSource
from shared.media.frame import Frame, upright
from shared.media.shot_boundary import CutDetector

Between = Callable[[Image, Image, float], Image]  # two frames and a position in (0, 1) between them

SAMPLES = 8
NEAR = Fraction(1, 8)  # of the gap between two frames: an instant so near to one of them is that one
NEARLY = Fraction(11, 10)  # a source this little slower than the wanted rate needs no made-up frames
LONGEST_GAP_SECONDS = Fraction(1, 4)  # a frame that stands longer than this is meant to stand
ROOM = 1.25  # how much larger than the result footage is kept, for a camera to move in


class SourceFootage:
    """A `VideoSource` as footage for a shot; frames that it lacks come from `between`."""

    def __init__(self, source: VideoSource, shot: Shot, between: Between) -> None:
        self._source = source
        self._between = between
        room = ROOM if shot.camera else 1.0
        self._useful = room * shot.size[0], room * shot.size[1]

    def frames(self, frame_rate: int) -> Iterator[Image]:
        shown = ((self._presented(frame.image), frame) for frame in self._source.frames())
        return resample(shown, self._source.time_base, frame_rate, self._between)

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
    cuts = CutDetector()
    previous: Image | None = None
    start = end = Fraction(0)
    for picture, frame in shown:
        now = frame.pts * time_base
        is_cut = previous is not None and cuts.is_cut(previous, picture)
        while (moment := Fraction(instant, frame_rate)) < now:
            if previous is None:
                yield picture
            elif _is_made_up(moment, start, now, frame_rate) and not is_cut:
                yield between(previous, picture, float((moment - start) / (now - start)))
            else:
                nearer = now - moment <= moment - start and now - start <= LONGEST_GAP_SECONDS
                yield picture if nearer else previous
            instant += 1
        previous, start, end = picture, now, now + frame.duration * time_base
    if previous is None:
        return
    for _ in range(instant, max(1, round(end * frame_rate))):
        yield previous


def _is_made_up(moment: Fraction, start: Fraction, end: Fraction, frame_rate: int) -> bool:
    """Tell whether neither of the frames at `start` and `end` may stand in for what lay between them."""
    gap = end - start
    position = (moment - start) / gap
    return LONGEST_GAP_SECONDS >= gap > NEARLY / frame_rate and min(position, 1 - position) >= NEAR
