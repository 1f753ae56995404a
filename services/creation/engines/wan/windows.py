"""A video longer than a take: overlapping windows, each of which begins with the end of the one before."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import cv2
import numpy as np

from services.creation.engine import Image
from services.creation.engines.wan.generation_request import whole_groups

OVERLAP = 9  # frames, 4k+1: three latents of what was, half a second

Make = Callable[[Sequence[Image], Sequence[Image]], Sequence[Image]]  # leads and frames already made, to new frames


def in_windows(leads: Iterable[Image], window: int, make: Make) -> Iterator[Image]:
    """Yield one frame for each lead, in memory for one window.

    `make` gets up to `window` leads, in number 4k+1, and the last frames of the window before, which stand at the
    beginning of this one: the model goes on from them. Where both windows have a frame, one fades into the other.
    """
    leads = iter(leads)
    batch = list(islice(leads, window))
    made_before: Sequence[Image] = []
    while batch:
        following = list(islice(leads, window - OVERLAP))
        padding = [batch[-1]] * (whole_groups(len(batch)) - len(batch))
        frames = faded(made_before, make(batch + padding, made_before)[: len(batch)])
        if not following:
            yield from frames
            return
        yield from frames[:-OVERLAP]
        made_before = frames[-OVERLAP:]
        batch = batch[-OVERLAP:] + following


def faded(before: Sequence[Image], after: Sequence[Image]) -> list[Image]:
    """Let the frames of `before` go over into the first ones of `after`, evenly and without reaching either end."""
    steps = len(before) + 1
    mixed = [
        np.asarray(cv2.addWeighted(old, 1 - index / steps, new, index / steps, 0), np.uint8)
        for index, (old, new) in enumerate(zip(before, after, strict=False), start=1)
    ]
    return [*mixed, *after[len(before) :]]


def count_windows(frames: int, window: int) -> int:
    """Return how many takes a video of so many frames needs."""
    return 1 + max(0, -(-(frames - window) // (window - OVERLAP)))
