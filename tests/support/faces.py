"""Faces to test with: two private people from freely licensed clips, and the models that find and swap them.

Sources and licences are in docs/licences.md. Nobody here is a public figure.
"""

from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image as Pillow

from services.facefusion.model import FaceModel, load
from services.facefusion.pipeline import swap_faces
from services.facefusion.preview import preview_swap
from services.facefusion.request import FaceFusionRequest
from services.facefusion.swapper import View
from shared import weights
from shared.arrays import Image
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Result
from shared.settings import EncodingSettings, FaceFusionSettings, Settings

SETTINGS = Settings(encoding=EncodingSettings(preset="ultrafast"), facefusion=FaceFusionSettings(swapper="classic"))


@cache
def model() -> FaceModel:
    """The embedded default, loaded once a run."""
    return load(SETTINGS)


@cache
def frames_of(name: str, count: int = 12, start: int = 0) -> list[Image]:
    """Consecutive frames of a clip of the catalogue."""
    with av.open(weights.path(name)) as container:
        decoded = (np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0))
        return [picture for index, picture in enumerate(decoded) if start <= index < start + count]


def man() -> Image:
    return frames_of("clip-single-face")[0]


@cache
def woman() -> Image:
    return frames_of("clip-woman-hands", count=1, start=242)[0]


@cache
def pair() -> Image:
    """The man on the left, the woman on the right: (360, 960, 3)."""
    return np.hstack([man()[:, 40:520], woman()[:, 160:]])


def largest(image: Image) -> View:
    """The biggest face of a picture with its landmarks."""
    face = model().largest(image)
    assert face is not None
    return model().view(image, face)


def save(path: Path, image: Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(image).save(path)
    return path


def portrait(folder: Path) -> Path:
    """The man's photograph: a file to be a source."""
    target = folder / "portrait.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(weights.path("picture-single-face").read_bytes())
    return target


def run(
    folder: Path, source: Path, target: Path, *, context: dict[str, Any] | None = None, **fields: Any
) -> tuple[Result, DirectJob]:
    """Run a request without a queue; results lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    body = {"task_id": 7, "dist_dir": str(folder), "source_file": str(source), "target_file": str(target)} | fields
    request = FaceFusionRequest.model_validate(body)
    job = DirectJob(folder, SETTINGS, service="facefusion", context=context)
    return job.run(swap_faces if request.programe else preview_swap, request, model()), job


def difference(one: Image, other: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Absolute difference per pixel, the largest of the channels."""
    found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.abs(
        one.astype(np.float32) - other.astype(np.float32)
    ).max(2)
    return found


def read(path: Path) -> Image:
    with Pillow.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
