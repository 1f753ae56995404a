"""What does not change from one frame to the next is not computed again: black bars, slides, screen recordings.

An output pixel depends on the input pixels within the network's reach and on nothing else. So where none of those
differs from the frame before, neither does the result, and it is taken from there. Around the pixels that differ a
rectangle is computed: grown by the reach, because the result changes that far, and by the reach once more, because the
network must see that far. A network whose windows overlap by less than its reach is computed in windows that are always
the same, and the result of a window depends on nothing but that window: those that do not differ are kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shared.arrays import Picture
from shared.networks.boxes import Box, Mask, changed_boxes
from shared.networks.tiles import Tile, plan
from shared.networks.upscaler import Upscaler

WORTHWHILE = 0.85  # of the frame's pixels: what computes more than this computes the whole frame


class Enlarge(Protocol):
    """A frame (H, W, 3) and a ratio to (H*ratio, W*ratio, 3); `shared.networks.upscaler` has one."""

    def __call__(self, frame: Picture, ratio: int, between_windows: Callable[[], None] = ..., /) -> Picture:
        """Upscale one frame; `between_windows` may raise to stop."""


@dataclass(frozen=True)
class Part:
    """A window that must be computed, and the core that is kept of it."""

    window: Box
    core: Box


def only_changes(upscaler: Enlarge) -> Enlarge:
    """Return what enlarges the frames of one video: on a CPU it computes only what changes.

    A GPU computes whole frames: it is fast because all of them have one shape.
    """
    if isinstance(upscaler, Upscaler) and upscaler.compute.device.type == "cpu":
        return ChangedParts(upscaler)
    return upscaler


class ChangedParts:
    """Callable as the upscaler that it wraps: computes what changed since the frame before, and keeps the rest.

    It holds the last frame and its result, for the frames of one video. The result is what the upscaler makes of the
    whole frame, except that values on the very edge of rounding may fall to the other side where a rectangle is
    computed, as they do with windows. Not thread-safe: one frame at a time.
    """

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler
        self._latest: tuple[Picture, int, Picture] | None = None

    def __call__(self, frame: Picture, ratio: int, between_windows: Callable[[], None] = lambda: None) -> Picture:
        """Upscale one frame; errors are the upscaler's."""
        latest, self._latest = self._latest, None
        result = None
        if latest is not None and latest[0].shape == frame.shape and latest[0].dtype == frame.dtype:
            result = self._patched(latest, frame, ratio, between_windows) if latest[1] == ratio else None
        if result is None:
            result = self._upscaler(frame, ratio, between_windows)
        self._latest = frame, ratio, result
        return result

    def _patched(
        self, latest: tuple[Picture, int, Picture], frame: Picture, ratio: int, between_windows: Callable[[], None]
    ) -> Picture | None:
        """Return the last result with its changed parts computed; None where the whole frame should be."""
        before, _, enlarged = latest
        parts = self._parts(_changed(before, frame))
        if parts is None:
            return None
        result = enlarged.copy()
        windows = self._upscaler.window_pixels
        for part in parts:
            piece = self._upscaler(np.ascontiguousarray(part.window.of(frame)), ratio, between_windows)
            part.core.of(result, ratio)[:] = part.core.within(part.window).of(piece, ratio)
        # After running out of memory all windows are others, those of the frame before too.
        return result if windows == self._upscaler.window_pixels else None

    def _parts(self, changed: Mask) -> list[Part] | None:
        """Return what to compute for a mask (H, W) of changed pixels; None for the whole frame."""
        height, width = changed.shape
        reach = self._upscaler.reach
        if self._upscaler.overlap < reach:
            return self._changed_windows(changed)
        boxes = list(changed_boxes(changed, margin=2 * reach))
        parts = [Part(box.grown(2 * reach, height, width), box.grown(reach, height, width)) for box in boxes]
        return parts if sum(part.window.area for part in parts) <= WORTHWHILE * changed.size else None

    def _changed_windows(self, changed: Mask) -> list[Part] | None:
        height, width = changed.shape
        tiles = plan(height, width, window_pixels=self._upscaler.window_pixels, overlap=self._upscaler.overlap)
        windows = [Part(_window(tile), Box(tile.top, tile.left, tile.bottom, tile.right)) for tile in tiles]
        if windows[0].window.area > self._upscaler.window_pixels:  # the upscaler would cut them again
            return None
        parts = [part for part in windows if part.window.of(changed).any()]
        return parts if len(parts) < len(windows) else None


def _window(tile: Tile) -> Box:
    bottom, right = tile.window_top + tile.window_height, tile.window_left + tile.window_width
    return Box(tile.window_top, tile.window_left, bottom, right)


def _changed(before: Picture, after: Picture) -> Mask:
    """Return (H, W), where any of the three colours differs; by planes, which takes a tenth of `any`'s time."""
    differs = before != after
    changed: Mask = differs[..., 0] | differs[..., 1] | differs[..., 2]
    return changed
