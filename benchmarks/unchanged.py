"""How much time is saved where a video stands still, and what it costs where everything moves.

`python -m benchmarks.unchanged [WIDTH HEIGHT]`: processor time a frame with animevideov3 at x4, the whole frame and
only its changes in turns. The first clip is Big Buck Bunny as 2.39:1 between black bars, its right half still; in the
second all of it moves.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import av
import cv2
import numpy as np

from services.upscale.model import load
from shared import weights
from shared.arrays import Picture
from shared.networks.changes import ChangedParts
from shared.settings import Settings, UpscaleSettings

FRAMES = 4
RATIO = 4
SCOPE = 2.39  # width / height of a cinema picture
SIZES = ((640, 480), (1440, 1080))


def measure(size: tuple[int, int]) -> None:
    """Print one line for each of the two clips."""
    model = load(Settings(device="cpu", upscale=UpscaleSettings(model="animevideov3")))
    for name, clip in (("bars and a still half", half_still(size)), ("all moves", film(size))):
        changes = ChangedParts(model, RATIO)
        whole, ours = [], []
        for frame in clip:
            whole.append(seconds(partial(model, frame, RATIO)))
            ours.append(seconds(partial(changes, frame)))
        ratio = statistics.median(one / other for one, other in zip(whole[1:], ours[1:], strict=True))
        told = f"whole {statistics.median(whole) * 1e3:.0f} ms, changes {statistics.median(ours[1:]) * 1e3:.0f} ms"
        sys.stdout.write(f"{size[0]}x{size[1]}, {name}: {told}, {ratio:.2f} times as fast\n")


def film(size: tuple[int, int]) -> list[Picture]:
    with av.open(str(weights.path("clip-bigbuckbunny"))) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(FRAMES))]  # noqa: B905  # the first few
    return [np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)) for picture in pictures]


def half_still(size: tuple[int, int]) -> list[Picture]:
    width, height = size
    pictures = film((width, round(width / SCOPE)))
    top = (height - pictures[0].shape[0]) // 2
    clip = []
    for picture in pictures:
        frame = np.zeros((height, width, 3), np.uint8)
        frame[top : top + picture.shape[0]] = picture
        frame[top : top + picture.shape[0], width // 2 :] = pictures[0][:, width // 2 :]
        clip.append(frame)
    return clip


def seconds(enlarge: Callable[[], Picture]) -> float:
    """Processor time: other programs on the machine count less than on the clock."""
    begin = time.process_time()
    enlarge()
    return time.process_time() - begin


if __name__ == "__main__":
    for chosen in [(int(sys.argv[1]), int(sys.argv[2]))] if len(sys.argv) > 2 else SIZES:  # noqa: PLR2004
        measure(chosen)
