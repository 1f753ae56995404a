"""A decoded picture, as it passes from the decoder through a model to the encoder."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from shared.arrays import Picture
from shared.media.captions import Captions
from shared.process.ordered_map import ordered_map


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture and the time for which it is shown.

    `image` is (height, width, 3) RGB: uint8 0-255, or uint16 0-65535 when the source has more than 8 bits. It is
    oriented as stored; a player shows it in `VideoSource.orientation`. `pts` and `duration` count units of the time
    base that belongs to the frames (`VideoSource.time_base`, or the one given to `encode`); pts 0 is
    the moment at which the earliest stream of the source starts. A picture that is made from others has no `captions`.
    """

    image: Picture
    pts: int
    duration: int
    captions: Captions | None = None


def repeat_identical(
    frames: Iterable[Frame],
    function: Callable[[Picture], Picture],
    threads: int = 1,
    prepare: Callable[[], object] = lambda: None,
) -> Iterator[Frame]:
    """Apply `function` to each picture, once for a run of identical ones, in `threads` threads (see `ordered_map`).

    Cartoons hold a drawing for several frames and screen recordings stand still: their results are reused, pixel for
    pixel, with each frame's own time.
    """

    def work(step: tuple[Frame, bool]) -> tuple[Frame, Picture | None]:
        frame, repeated = step
        return frame, None if repeated else function(frame.image)

    latest: Picture | None = None
    for frame, result in ordered_map(work, _compared(frames), threads, prepare):
        latest = latest if result is None else result
        assert latest is not None
        yield replace(frame, image=latest)


def _compared(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Yield each frame and whether its picture is that of the frame before."""
    previous: Picture | None = None
    for frame in frames:
        repeated = previous is not None and np.array_equal(previous, frame.image)
        if not repeated:
            previous = frame.image
        yield frame, repeated
