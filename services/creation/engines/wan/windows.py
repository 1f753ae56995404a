"""A video longer than one run: overlapping windows, each of which begins with the end of the one before."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import cv2
import numpy as np

from services.creation.engines.wan.generation_request import whole_groups
from shared.arrays import Image

OVERLAP = 9  # frames, 4k+1: three latents of the window before, half a second

Generate = Callable[[Sequence[Image], Sequence[Image]], Sequence[Image]]  # see `in_windows`


def in_windows(source: Iterable[Image], window: int, generate: Generate) -> Iterator[Image]:
    """Yield one frame for each of the source's, with no more than about two windows in memory.

    `generate` gets up to `window` source frames, 4k+1 of them, and the frames already made of the first of these: the
    end of the window before, from which the model continues. It returns a frame for each source frame. Where two
    windows overlap, one fades into the other.
    """
    source = iter(source)
    batch = list(islice(source, window))
    previous: Sequence[Image] = []
    while batch:
        following = list(islice(source, window - OVERLAP))
        padding = [batch[-1]] * (whole_groups(len(batch)) - len(batch))
        frames = crossfade(previous, generate(batch + padding, previous)[: len(batch)])
        if not following:
            yield from frames
            return
        yield from frames[:-OVERLAP]
        previous = frames[-OVERLAP:]
        batch = batch[-OVERLAP:] + following


def crossfade(before: Sequence[Image], after: Sequence[Image]) -> list[Image]:
    """Mix `before` into the first frames of `after` with evenly rising weights, neither 0 nor 1."""
    steps = len(before) + 1
    mixed = [
        np.asarray(cv2.addWeighted(old, 1 - index / steps, new, index / steps, 0), np.uint8)
        for index, (old, new) in enumerate(zip(before, after, strict=False), start=1)
    ]
    return [*mixed, *after[len(before) :]]


def count_windows(frames: int, window: int) -> int:
    """Return how many windows a video of so many frames needs."""
    return 1 + max(0, -(-(frames - window) // (window - OVERLAP)))


def to_length(frames: Iterable[Image], count: int) -> Iterator[Image]:
    """Drop or repeat one last frame where two roundings of a length gave one too many or too few.

    A larger difference is left as it is: then the source's header was wrong.
    """
    yielded, held = 0, None
    for frame in frames:
        if held is not None:
            yield held
            yielded += 1
        held = frame
    if held is None or yielded == count:
        return
    yield held
    if yielded + 2 == count:
        yield held
