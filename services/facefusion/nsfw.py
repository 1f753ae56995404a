"""A gate against nudity: Yahoo's open_nsfw (BSD-2) looks at one frame a second."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from services.facefusion import network
from services.facefusion.face import Float, Image
from shared.errors import JobFailed

MEAN: Float = np.array([104, 117, 123], np.float32)  # BGR
SHORT, CROP = 256, 224  # pixels


class NsfwScorer:
    """`score(image) -> float` 0-1; image is (H, W, 3) RGB uint8."""

    def __init__(self, weights: Path, *, threads: int = 2) -> None:
        self._session = network.session(network.read(weights), threads=threads)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: Image) -> float:
        """Score the middle of a picture; the network takes NHWC."""
        small = cv2.resize(image, (SHORT, SHORT), interpolation=cv2.INTER_AREA)
        edge = (SHORT - CROP) // 2
        centre = small[edge : edge + CROP, edge : edge + CROP, ::-1].astype(np.float32) - MEAN
        (found,) = self._session.run(None, {self._input: centre[None]})
        return float(found[0, 1])


@dataclass
class NsfwGate:
    """Looks at samples of one job and ends it when too many of them are over the threshold.

    `expected` is how many samples will come, where that is known: the job then ends as soon as the share is certain.
    """

    scorer: Callable[[Image], float] | None  # None: switched off by the settings
    threshold: float
    share: float
    expected: int = 1
    seen: int = 0
    hits: int = 0
    highest: float = 0.0

    def look(self, image: Image) -> None:
        """Score one sample; raise JobFailed once more than the share of all samples must be over the threshold."""
        if self.scorer is None:
            return
        score = self.scorer(image)
        self.seen += 1
        self.hits += score > self.threshold
        self.highest = max(self.highest, score)
        if self.hits > self.share * max(self.expected, self.seen):
            raise JobFailed("facefusion_nsfw", hits=self.hits, seen=self.seen)

    def close(self) -> None:
        """All samples are in: raise JobFailed when their share is too high."""
        if self.seen and self.hits > self.share * self.seen:
            raise JobFailed("facefusion_nsfw", hits=self.hits, seen=self.seen)

    def report(self) -> dict[str, object]:
        """For the task's details."""
        if self.scorer is None:
            return {"checked": False}
        return {"checked": True, "samples": self.seen, "over": self.hits, "highest": round(self.highest, 3)}
