"""A swapper whose faces are restored: it holds any other swapper and repairs what that one renders.

The frame with the swapped face is aligned for the restorer, and what that adds is given to the swapper's own patch,
under the swapper's own mask. A share of 0 adds nothing, and the mask says where it is added at all.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from services.facefusion.restoration.chip import Alignment
from services.facefusion.restoration.detail_memory import DetailMemory
from services.facefusion.restoration.restorer import Restorer
from services.facefusion.swapper import FaceRenderer, Patch, PreparedSource, Rendering, Steps, Swapper, View, at_once
from shared.arrays import Image


class RestoringSwapper:
    """The `Swapper` of this module; its name is that of the swapper that it holds."""

    def __init__(self, swapper: Swapper, restorer: Restorer, share: float) -> None:
        """Restore what `swapper` renders, by `share`, 0-1, of what the restorer adds."""
        self.name = swapper.name
        self._swapper, self._restorer, self._share = swapper, restorer, share

    def prepare(self, image: Image, view: View) -> "RestoringSource":
        """Prepare the source as the swapper does."""
        return RestoringSource(self._swapper.prepare(image, view), self._restorer, self._share)


@dataclass
class Restored:
    """What is remembered of one track."""

    swapped: Any = None  # what the swapper's own renderer remembers
    detail: DetailMemory = field(default_factory=DetailMemory)


@dataclass(frozen=True)
class RestoringSource:
    """A prepared source whose renderers restore."""

    source: PreparedSource
    restorer: Restorer
    share: float

    def renderer(self, remembered: Restored | None = None) -> "RestoringRenderer":
        """Return a renderer for one track."""
        known = remembered or Restored()
        return RestoringRenderer(self.source.renderer(known.swapped), self.restorer, self.share, known.detail)


@dataclass
class RestoringRenderer:
    """Renders and restores over one track, frame after frame."""

    renderer: FaceRenderer
    restorer: Restorer
    share: float
    detail: DetailMemory

    @property
    def remembered(self) -> Restored:
        """What the swapper's renderer remembers, and the detail so far."""
        return Restored(self.renderer.remembered, self.detail)

    def __call__(self, image: Image, view: View) -> Patch | None:
        """Return the swapped and restored face; None when nothing of it can be seen."""
        return at_once(self.steps(image, view))

    def steps(self, image: Image, view: View) -> Steps:
        """Do so in the swapper's steps, the restorer at the end of the last one; then the smoothing, then the patch."""
        if view.fresh:
            self.detail = DetailMemory()
        memory = self.detail
        rendering = Rendering(self.renderer.steps(image, view))
        while rendering.advance():
            yield
        patch = rendering.patch
        if patch is None:
            return None
        alignment = Alignment.of(view.face, self.restorer.interface)
        chip = alignment.cut(image, None if patch.added else patch)
        detail = self.restorer(chip) - chip
        yield
        smoothed = memory.smooth(detail, chip)
        yield
        added = alignment.back(smoothed * np.float32(self.share), patch)
        return replace(patch, pixels=patch.pixels + added)
