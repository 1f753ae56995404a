"""The nudity check: Yahoo's open_nsfw (BSD-2) scores one frame a second."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from services.facefusion import network
from services.facefusion.face import Float
from shared.arrays import Image
from shared.errors import JobFailed

MEAN: Float = np.array([104, 117, 123], np.float32)  # BGR
RESIZED, CROPPED = 256, 224  # pixels a side


class NsfwScorer:
    """`score(image) -> float` 0-1; image is (H, W, 3) RGB uint8."""

    def __init__(self, weights: Path) -> None:
        self._session = network.session(network.read(weights))
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: Image) -> float:
        """Score the middle of a picture; the network takes NHWC."""
        small = cv2.resize(image, (RESIZED, RESIZED), interpolation=cv2.INTER_AREA)
        edge = (RESIZED - CROPPED) // 2
        centre = small[edge : edge + CROPPED, edge : edge + CROPPED, ::-1].astype(np.float32) - MEAN
        (found,) = self._session.run(None, {self._input: centre[None]})
        return float(found[0, 1])


@dataclass
class NsfwGate:
    """Checks samples of one job and ends it when too large a share of them is over the threshold.

    `expected` is how many samples will come: the job then ends as soon as the result is certain. None: nobody knows,
    and it can only end when all have come.
    """

    scorer: Callable[[Image], float] | None  # None: switched off by the settings
    threshold: float
    share: float
    expected: int | None = 1
    samples: int = 0
    over: int = 0
    highest: float = 0.0

    def check(self, image: Image) -> None:
        """Score one sample; raise JobFailed once the share over the threshold must be too large."""
        if self.scorer is None:
            return
        score = self.scorer(image)
        self.samples += 1
        self.over += score > self.threshold
        self.highest = max(self.highest, score)
        if self.expected is not None:
            self._refuse_if_too_many(max(self.expected, self.samples))

    def finish(self) -> None:
        """After the last sample: raise JobFailed when the share of the samples that came is too large."""
        self._refuse_if_too_many(self.samples)

    def report(self) -> dict[str, object]:
        """Return the entry for the task's details."""
        if self.scorer is None:
            return {"checked": False}
        return {"checked": True, "samples": self.samples, "over": self.over, "highest": round(self.highest, 3)}

    def remembered(self) -> list[float]:
        """Return what `recall` takes: what was counted so far."""
        return [self.samples, self.over, self.highest]

    def recall(self, remembered: list[float]) -> None:
        """Go on counting where another gate was."""
        samples, over, self.highest = remembered
        self.samples, self.over = int(samples), int(over)

    def _refuse_if_too_many(self, samples: int) -> None:
        if self.over > self.share * samples:
            raise JobFailed("facefusion_nsfw", hits=self.over, seen=self.samples)
