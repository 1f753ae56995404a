"""What every measurement of face fusion uses: the model, a folder, requests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from services.facefusion.face import Face
from services.facefusion.model import FaceModel
from services.facefusion.request import FaceFusionRequest
from shared import weights
from shared.arrays import Image
from shared.media.image import read_picture
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Result
from shared.settings import Settings


@dataclass(frozen=True)
class Setup:
    """What every measurement uses."""

    settings: Settings
    model: FaceModel
    folder: Path  # for results; deleted afterwards
    figures: dict[str, Any] = field(default_factory=dict)

    def run(self, work: Callable[..., Result], wanted: FaceFusionRequest) -> Result:
        """Run one request without a queue."""
        return DirectJob(self.folder, self.settings, service="bench").run(work, wanted, self.model)


def request(folder: Path, target: Path, **fields: Any) -> FaceFusionRequest:
    """Ask for a swap from the man's portrait, or another source, to a target."""
    source = fields.pop("source", weights.path("picture-single-face"))
    body = {"task_id": 1, "dist_dir": str(folder), "source_file": str(source), "target_file": str(target)}
    return FaceFusionRequest.model_validate(body | fields)


def read_source(wanted: FaceFusionRequest, settings: Settings) -> Image:
    """Read the source picture as the pipeline reads it."""
    with DirectJob(Path(wanted.dist_dir), settings).input(wanted.source_file) as file:
        return np.asarray(read_picture(file), np.uint8)


def largest(model: FaceModel, image: Image) -> Face:
    """Return the face of a frame that is known to have one."""
    face = model.largest(image)
    assert face is not None, "no face in a frame that has one"
    return face
