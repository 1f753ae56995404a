"""Creation without a model and in a small size: the classic engine, as slow as asked."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from services.creation.engine import Engine
from services.creation.engines.classic.engine import ClassicEngine
from services.creation.pipeline import create_video
from services.creation.request import CreationRequest
from shared.arrays import Image
from shared.contract.request import TaskRequest
from shared.pipeline.job import Job, Result

AREA = 96 * 64  # pixels of a frame


class SmallClassic(ClassicEngine):
    """Calls `before_each` frame of a video."""

    area = AREA

    def __init__(self, before_each: Callable[[], object] = lambda: None) -> None:
        self._before_each = before_each

    def from_video(self, *args: Any, **kwargs: Any) -> Iterator[Image]:
        for image in super().from_video(*args, **kwargs):
            self._before_each()
            yield image


@dataclass
class Pool:
    """One engine for everything, and missing frames by mixing."""

    chosen: Engine

    def engine(self, _category: int, _fields: frozenset[str] = frozenset()) -> Engine:
        return self.chosen

    def interpolate(self, first: Image, second: Image, position: float) -> Image:
        return mixed(first, second, position)


def mixed(first: Image, second: Image, position: float) -> Image:
    """Return what lies between two pictures, without motion."""
    return np.asarray(cv2.addWeighted(first, 1 - position, second, position, 0), np.uint8)


def restyled(job: Job, request: TaskRequest, path: str, *, seconds: float) -> Result:
    """Draw a film as anime by the service's own pipeline, `seconds` a frame."""
    asked = CreationRequest.model_validate(
        {
            "task_id": request.task_id, "dist_dir": request.dist_dir, "category": 3, "video_url": path,
            "video_style": 1, "fps": 8, "seed": 5,
        }
    )  # fmt: skip
    pool = Pool(SmallClassic(lambda: time.sleep(seconds)))
    return create_video(job, asked, pool)  # type: ignore[arg-type]  # a pool
