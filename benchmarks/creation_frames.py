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


class Scene:
    """Frames (N, H, W, 3) as a video's."""

    ends = True

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self._frames = frames

    def frames(self, frame_rate: int) -> Iterator[NDArray[np.uint8]]:  # noqa: ARG002  # the protocol's
        return iter(self._frames)

    def samples(self) -> Sequence[NDArray[np.uint8]]:
        return list(self._frames[::4])


def main(source: Path, target: Path, style: int) -> None:
    """Write every scene's last frame."""
    with np.load(source) as scenes:
        np.savez(target, *(drawn(scenes[name], style)[None] for name in scenes.files))


def drawn(frames: NDArray[np.uint8], style: int) -> NDArray[np.uint8]:
    """Return the last of the frames (N, H, W, 3) in a style."""
    spec = ClipSpec(
        size=(frames.shape[2], frames.shape[1]),
        frame_rate=24,
        frame_count=len(frames),
        seed=SEED,
        movement=1,
        camera=Camera(),
        style=style,
        prompt="",
        negative_prompt="",
        guidance=12,
    )
    return list(ClassicEngine().from_video(spec, Scene(frames), lambda _progress: None))[-1]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
