"""A video longer than one run: overlapping windows, each of which begins with the end of the one before."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

import cv2
import numpy as np

from services.creation.engines.wan.generation_request import whole_groups
from services.creation.source_frames import Part
from shared.arrays import Image

OVERLAP = 9  # frames, 4k+1: three latents of the window before, half a second

Generate = Callable[[Sequence[Image], Sequence[Image]], Sequence[Image]]  # see `in_windows`


def in_windows(source: Iterable[Image], window: int, generate: Generate, part: Part | None = None) -> Iterator[Image]:
    """Yield one frame for each of the source's, with no more than about two windows in memory.

    `generate` gets up to `window` frames, 4k+1 of them: those already made that the window before ends with, from which
    the model continues, then the source's. It gets those already made once more, alone, and returns a frame for each.
    Where two windows overlap, one fades into the other. What fills no window at the end of a `part` waits for the next.
    """
    part = part or Part()
    source = chain(part.memory.pictures("waiting"), source)
    previous: Sequence[Image] = part.memory.pictures("window end")
    while batch := list(islice(source, window - len(previous))):
        if len(previous) + len(batch) < window and not part.is_last():
            break
        framed = [*previous, *batch]
        padding = [framed[-1]] * (whole_groups(len(framed)) - len(framed))
        frames = crossfade(previous, generate(framed + padding, previous)[: len(framed)])
        yield from frames[:-OVERLAP]
        previous = frames[-OVERLAP:]
    part.memory.keep_pictures("waiting", batch)
    part.memory.keep_pictures("window end", previous)
    if part.is_last():
        yield from previous


def crossfade(before: Sequence[Image], after: Sequence[Image]) -> list[Image]:
    """Mix `before` into the first frames of `after` with evenly rising weights, neither 0 nor 1."""
    steps = len(before) + 1
    mixed = [
        np.asarray(cv2.addWeighted(old, 1 - index / steps, new, index / steps, 0), np.uint8)
        for index, (old, new) in enumerate(zip(before, after, strict=False), start=1)
    ]
    return [*mixed, *after[len(before) :]]


def to_length(frames: Iterable[Image], count: int, part: Part | None = None) -> Iterator[Image]:
    """Drop or repeat one last frame where two roundings of a length gave one too many or too few.

    A larger difference is left as it is: then the source's header was wrong.
    """
    part = part or Part()
    held = part.memory.pictures("held")  # the last frame so far, if there is any
    yielded = part.memory.count("yielded")
    for frame in frames:
        if held:
            yield held[0]
            yielded += 1
        held = [frame]
    if not part.is_last():
        part.memory.keep("yielded", yielded)
        part.memory.keep_pictures("held", held)
        return
    if not held or yielded == count:
        return
    yield held[0]
    if yielded + 2 == count:
        yield held[0]
