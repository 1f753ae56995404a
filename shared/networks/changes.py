"""What does not change from one frame to the next is not computed again: black bars, slides, screen recordings.

An output pixel depends on the input pixels within the network's reach and on nothing else. So where none of those
differs from the frame before, neither does the result, and it is taken from there. Around the pixels that differ a
rectangle is computed: grown by the reach, because the result changes that far, and by the reach once more, because the
network must see that far. A network whose windows overlap by less than its reach is computed in windows that are always
the same, and the result of a window depends on nothing but that window: those that do not differ are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.arrays import Picture
from shared.networks.boxes import Box, Mask, changed_boxes
from shared.networks.tiles import plan
from shared.networks.upscaler import Upscaler

WORTHWHILE = 0.85  # of the frame's pixels: what computes more than this computes the whole frame


@dataclass(frozen=True)
class Part:
    """A window that must be computed, and the core that is kept of it."""

    window: Box
    core: Box


@dataclass(frozen=True)
class Step:
    """A frame and what of it must be computed: some parts, nothing (no parts), or all of it (None)."""

    frame: Picture
    parts: Sequence[Part] | None
    windows: int  # pixels of a window when this was decided


class ChangedParts:
    """Enlarges the frames of one video: on a CPU what changed since the frame before, and the rest is kept.

    A frame takes three steps. `plan` and `assemble` are called in the order of the frames, each in one thread; between
    them `compute` may run for several frames at once. The result is what the upscaler makes of the whole frame, except
    that values on the very edge of rounding may fall to the other side where a rectangle is computed, as they do with
    windows. A GPU computes whole frames: it is fast because all of them have one shape.
    """

    def __init__(self, upscaler: Upscaler, ratio: int) -> None:
        self._upscaler = upscaler
        self._ratio = ratio
        self._before: Picture | None = None
        self._enlarged: Picture | None = None

    def __call__(self, frame: Picture, between_windows: Callable[[float], None] = lambda _done: None) -> Picture:
        """Upscale the next frame in the calling thread; after an exception the one behind it is computed whole."""
        step = self.plan(frame)
        try:
            return self.assemble(step, self.compute(step, between_windows))
        except BaseException:
            self._before = None
            raise

    def plan(self, frame: Picture) -> Step:
        """Compare the next frame with the one before it."""
        before, self._before = self._before, frame
        windows = self._upscaler.window_pixels
        if before is None or before.shape != frame.shape or before.dtype != frame.dtype:
            return Step(frame, None, windows)
        if np.array_equal(before, frame):
            return Step(frame, (), windows)
        return Step(frame, self._parts(_changed(before, frame)) if self._upscaler.computes_parts else None, windows)

    def compute(self, step: Step, between_windows: Callable[[float], None] = lambda _done: None) -> list[Picture]:
        """Return the enlarged windows of the parts, or the enlarged frame; errors are the upscaler's."""
        if step.parts is None:
            return [self._upscaler(step.frame, self._ratio, between_windows)]
        pieces: list[Picture] = []
        for part in step.parts:
            count = len(pieces)

            def between(done: float, before: int = count, parts: int = len(step.parts)) -> None:
                between_windows((before + done) / parts)

            pieces.append(self._upscaler(np.ascontiguousarray(part.window.of(step.frame)), self._ratio, between))
        if step.windows != self._upscaler.window_pixels:  # it ran out of memory: the windows are others now
            return [self._upscaler(step.frame, self._ratio, between_windows)]
        return pieces

    def assemble(self, step: Step, pieces: list[Picture]) -> Picture:
        """Return the enlarged frame; the one before it gives what was not computed."""
        height, width = step.frame.shape[:2]
        whole = (height * self._ratio, width * self._ratio)
        if step.parts is None or (len(pieces) == 1 and pieces[0].shape[:2] == whole):
            self._enlarged = pieces[0]
            return pieces[0]
        assert self._enlarged is not None
        if not step.parts:
            return self._enlarged
        result = self._enlarged.copy()
        for part, piece in zip(step.parts, pieces, strict=True):
            part.core.of(result, self._ratio)[:] = part.core.within(part.window).of(piece, self._ratio)
        self._enlarged = result
        return result

    def _parts(self, changed: Mask) -> list[Part] | None:
        """Return what to compute for a mask (H, W) of changed pixels; None for the whole frame."""
        height, width = changed.shape
        reach = self._upscaler.reach
        if self._upscaler.overlap < reach:
            return self._changed_windows(changed)
        boxes = list(changed_boxes(changed, margin=2 * reach))
        grid = self._upscaler.grid
        parts = [
            Part(box.grown(2 * reach, height, width).begun_on(grid), box.grown(reach, height, width)) for box in boxes
        ]
        return parts if sum(part.window.area for part in parts) <= WORTHWHILE * changed.size else None

    def _changed_windows(self, changed: Mask) -> list[Part] | None:
        height, width = changed.shape
        tiles = plan(height, width, window_pixels=self._upscaler.window_pixels, overlap=self._upscaler.overlap)
        windows = [Part(tile.window, tile.core) for tile in tiles]
        if windows[0].window.area > self._upscaler.window_pixels:  # the upscaler would cut them again
            return None
        parts = [part for part in windows if part.window.of(changed).any()]
        return parts if len(parts) < len(windows) else None


def _changed(before: Picture, after: Picture) -> Mask:
    """Return (H, W), where any of the three colours differs; by planes, which takes a tenth of `any`'s time."""
    differs = before != after
    changed: Mask = differs[..., 0] | differs[..., 1] | differs[..., 2]
    return changed
