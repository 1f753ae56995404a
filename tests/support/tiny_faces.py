"""Face fusion without networks: one face in every frame, somewhere, painted over in a colour that it remembers."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from services.facefusion.face import ARCFACE_112, Face, Float
from services.facefusion.landmarks import COUNT
from services.facefusion.model import FaceModel
from services.facefusion.pipeline import swap_faces
from services.facefusion.request import FaceFusionRequest
from services.facefusion.smoothing import OneEuro
from services.facefusion.swapper import Patch, Steps, View, at_once
from shared.arrays import Image
from shared.contract.request import TaskRequest
from shared.pipeline.job import Job, Result

_PLACES: Float = np.random.default_rng(1).uniform(-0.3, 0.3, (COUNT, 3)).astype(np.float32)  # of a crop's side


def swapped(job: Job, request: TaskRequest, path: str, *, seconds: float) -> Result:
    """Swap the faces of a film by the service's own pipeline."""
    portrait = Path(path).with_name("portrait.png")
    if not portrait.exists():
        Pillow.new("RGB", (96, 96), (120, 90, 60)).save(portrait)
    asked = FaceFusionRequest.model_validate(
        {
            "task_id": request.task_id, "dist_dir": request.dist_dir, "source_file": str(portrait),
            "target_file": path, "programe": 1,
        }
    )  # fmt: skip
    return swap_faces(job, asked, faces(seconds))


def faces(seconds: float) -> FaceModel:
    """Return a model that takes `seconds` a frame."""

    def detect(image: Image) -> list[Face]:
        time.sleep(seconds)
        height, width = image.shape[:2]
        low = np.array([width, height], np.float32) * (0.2 + 0.2 * image[::4, ::4].mean() / 255)
        size = np.float32(max(height * 0.4, 20))  # smaller ones are not swapped
        return [Face(np.concatenate([low, low + size]), ARCFACE_112 / 112 * size + low, 0.95)]

    return FaceModel(
        detect=detect,
        embed=lambda _image, _landmarks5: np.array([1, 0], np.float32),
        embedder="tiny",
        landmarks=lambda _image, crop: (_PLACES * crop[2] + [*crop[:2], 0], 0.9),  # type: ignore[arg-type]
        attributes=None,  # type: ignore[arg-type]  # nobody asks for them
        nsfw=lambda image: float(image.mean()) / 1000,
        swapper=_Painter(),
    )


class _Painter:
    name = "painter"

    def prepare(self, _image: Image, _view: View) -> "_Painter":
        return self

    def renderer(self, remembered: OneEuro | None = None) -> "_Renderer":
        return _Renderer(remembered or OneEuro())


@dataclass
class _Renderer:
    remembered: OneEuro

    def __call__(self, image: Image, view: View) -> Patch | None:
        return at_once(self.steps(image, view))

    def steps(self, image: Image, view: View) -> Steps:
        x, y = (max(int(value), 0) for value in view.landmarks[:, :2].min(0))
        part: Any = image[y : y + 16, x : x + 16]
        yield
        now = part.mean((0, 1))[None].astype(np.float32)
        yield
        colour = self.remembered(now, 0.05, 100)
        yield
        return Patch(
            x, y, np.broadcast_to(colour[0], part.shape).astype(np.float32), np.ones(part.shape[:2], np.float32)
        )
