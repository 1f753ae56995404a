"""Draws scenes in one style with whichever version of the code is on the path: a process of benchmarks.creation_sheets.

    python FILE SCENES.npz DRAWN.npz STYLE

It uses only what every version since the first has.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.creation.camera import Camera
from services.creation.engine import ClipSpec
from services.creation.engines.classic.engine import ClassicEngine

SEED = 7
Frames = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]


class Scene:
    """Frames (H, W, 3) as a video's."""

    ends = True

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def frames(self, frame_rate: int) -> Iterator[NDArray[np.uint8]]:  # noqa: ARG002  # the protocol's
        return iter(self._frames)

    def samples(self) -> Sequence[NDArray[np.uint8]]:
        return list(self._frames[::4])


def main(source: Path, target: Path, style: int) -> None:
    """Write every scene's last frame."""
    with np.load(source) as scenes:
        np.savez(target, *(drawn(scenes[name], style)[-1:] for name in scenes.files))


def drawn(frames: Frames, style: int, *, seed: int = SEED) -> list[NDArray[np.uint8]]:
    """Return frames (H, W, 3) of one size in a style."""
    height, width = frames[0].shape[:2]
    spec = ClipSpec(
        size=(width, height),
        frame_rate=24,
        frame_count=len(frames),
        seed=seed,
        movement=1,
        camera=Camera(),
        style=style,
        prompt="",
        negative_prompt="",
        guidance=12,
    )
    return list(ClassicEngine().from_video(spec, Scene(frames), lambda _progress: None))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
