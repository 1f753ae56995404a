"""One pass over a video, cut into ranges of its time."""

from collections.abc import Iterator
from typing import Self

from shared.media.frame import Frame


class FrameRange:
    """An iterator over the frames of one range, in order of presentation.

    `first` is the pts of its first frame and `latest` the frame that was taken last, None for a range without frames;
    they tell only what was taken so far, as `following` does. `opens` is True for the range that the video begins with.
    """

    def __init__(self, frames: "FramePass", end: int | None, *, opens: bool) -> None:
        self.first: int | None = None
        self.latest: Frame | None = None
        self.opens = opens
        self._frames = frames
        self._end = end
        self._exhausted = False
        self._following: Frame | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the video."""
        return self.opens and self._end is None

    @property
    def following(self) -> Frame | None:
        """The first frame behind the range, None at the end of the video; ValueError before its last frame is taken."""
        if not self._exhausted:
            raise ValueError("what follows a range is not known before its end")
        return self._following

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        upcoming = self._frames.upcoming
        if self._exhausted or upcoming is None or (self._end is not None and upcoming.pts >= self._end):
            self._following = self._following if self._exhausted else upcoming
            self._exhausted = True
            raise StopIteration
        self.first = upcoming.pts if self.first is None else self.first
        self.latest = upcoming
        self._frames.advance()
        return upcoming


class FramePass:
    """Frames in order of presentation, of which one range after another is taken; the next one begins at its end.

    `opens`: the first of them is the first of the video.
    """

    def __init__(self, frames: Iterator[Frame], *, opens: bool = True) -> None:
        self._frames = frames
        self._opens = opens
        self.upcoming: Frame | None = None
        self.advance()

    def until(self, end: int | None) -> FrameRange:
        """Return the range from the frame at hand to the last one before `end` (pts); None: to the end of the video."""
        opens, self._opens = self._opens, False
        return FrameRange(self, end, opens=opens)

    def advance(self) -> None:
        """Take the next frame in hand."""
        self.upcoming = next(self._frames, None)


def whole(frames: Iterator[Frame]) -> FrameRange:
    """Return all frames as one range."""
    return FramePass(frames).until(None)
