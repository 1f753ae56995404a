"""What every swapper is: it prepares a source once and gives each track a renderer.

A prepared source belongs to one job and a renderer to one track of it, so nothing of one job can reach the next.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from services.facefusion.face import Face, Float
from shared.arrays import Image


@dataclass(frozen=True)
class View:
    """One face in one frame, as a swapper needs it."""

    face: Face
    landmarks: Float  # (468, 3) in frame pixels, smoothed within the track
    fresh: bool = True  # the first view of a track, or the first after a cut: what a renderer remembers is void
    opacity: float = 1.0  # below 1 while a doubtful face fades out


@dataclass(frozen=True)
class Patch:
    """New pixels for a part of a frame and how much of them to take."""

    x: int
    y: int
    pixels: Float  # (h, w, 3) RGB 0-255
    mask: Float  # (h, w) 0-1; 0 leaves the frame's pixel as it is, bit for bit
    added: bool = False  # the pixels are added to the frame's own, in levels of 255, and do not replace them


Steps = Generator[None, None, Patch | None]


class FaceRenderer(Protocol):
    """Renders the source's face over one track, frame after frame; keeps what must not flicker."""

    @property
    def remembered(self) -> Any:
        """What it keeps, such that `shared.pipeline.state_bytes` can write it; None for nothing."""

    def __call__(self, image: Image, view: View) -> Patch | None:
        """Return what to paste over the (H, W, 3) RGB frame; None when nothing of the face can be seen."""

    def steps(self, image: Image, view: View) -> Steps:
        """Do the same in steps, between which it yields: an even number of them, unless nothing is to be seen.

        The first, the third, the fifth … step of each frame follow those of the frame before, one frame after another;
        the steps between of several frames may run side by side, in any threads.
        """


class Rendering:
    """A patch that is being made."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._ended = False
        self.patch: Patch | None = None  # known after the last step

    def advance(self) -> bool:
        """Make the next step; False when that was the last one or there is none."""
        try:
            next(self._steps)
        except StopIteration as end:
            self.patch = self.patch if self._ended else end.value
            self._ended = True
        return not self._ended


def at_once(steps: Steps) -> Patch | None:
    """Make all steps."""
    rendering = Rendering(steps)
    while rendering.advance():
        pass
    return rendering.patch


class PreparedSource(Protocol):
    """A source person, ready to be rendered."""

    def renderer(self, remembered: Any = None) -> FaceRenderer:
        """Return a renderer for one track; `remembered` is of one that is to go on."""


class Swapper(Protocol):
    """A method that renders one person's face over another's."""

    name: str

    def prepare(self, image: Image, view: View) -> PreparedSource:
        """Take what is needed of the source's face."""


def paste(frame: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], patch: Patch) -> None:
    """Blend a patch into a frame of 8 or 16 bits, in place; pixels under a mask of 0 keep their exact value."""
    height, width = patch.mask.shape
    part = frame[patch.y : patch.y + height, patch.x : patch.x + width]
    white = float(np.iinfo(frame.dtype).max)
    now = part.astype(np.float32)
    step = cv2.addWeighted(patch.pixels, white / 255, now, 0 if patch.added else -1, 0)
    cv2.multiply(step, cv2.merge([patch.mask] * 3), dst=step)
    # Where the mask is 0 this adds 0. It rounds to the nearest value, a half to the even one, and clips.
    part[...] = cv2.add(now, step, dtype=cv2.CV_8U if frame.dtype == np.uint8 else cv2.CV_16U)
