"""A picture whose parts follow drawn paths, as the frames of a video that an engine can work from."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from services.creation.effects.drag import Drag
from services.creation.effects.viewport import trim
from services.creation.engine import ClipSpec, frame_count
from services.creation.source_frames import OVERSCAN
from services.creation.tracking import Paths, in_pixels
from shared.arrays import Image

SAMPLES = 3


class DraggedFrames:
    """The frames of a clip of `spec` in which parts of a picture (H, W, 3) move along paths."""

    ends = True  # of the video, with these frames

    def __init__(self, picture: Image, paths: Paths, spec: ClipSpec) -> None:
        height, width = picture.shape[:2]
        trimmed = trim(picture, spec.size)
        left, top = (width - trimmed.shape[1]) // 2, (height - trimmed.shape[0]) // 2
        overscan = OVERSCAN if spec.camera else 1.0
        needed = max(overscan * spec.size[0] / trimmed.shape[1], overscan * spec.size[1] / trimmed.shape[0])
        size = round(needed * trimmed.shape[1]), round(needed * trimmed.shape[0])
        smaller = needed < 1
        resized = cv2.resize(trimmed, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4)
        scale = np.array(size) / np.array(trimmed.shape[1::-1])
        placed = [(np.array(path) - (left, top)) * scale for path in in_pixels(paths, width, height)]
        self._drag = Drag(np.asarray(resized, np.uint8), placed)
        self._seconds = spec.frame_count / spec.frame_rate

    def frames(self, frame_rate: int) -> Iterator[Image]:
        count = frame_count(self._seconds, frame_rate)
        for index in range(count):
            yield self._drag.frame(index / max(1, count - 1))

    def samples(self) -> Sequence[Image]:
        return [self._drag.frame(index / (SAMPLES - 1)) for index in range(SAMPLES)]
