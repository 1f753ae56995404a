"""What a swap leaves unchanged: the pixels outside the face, its motion, the opening of mouth and eyes."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.faces.media import decode, frames_of
from benchmarks.faces.setup import Setup, largest, request
from services.facefusion.face import Face
from services.facefusion.landmarks import INNER_LIPS, LEFT_EYE, RIGHT_EYE, opening
from services.facefusion.model import FaceModel
from services.facefusion.pipeline import swap_faces
from shared import weights
from shared.arrays import Image
from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.provenance import Label
from shared.pipeline.direct_job import DirectJob


def fidelity(setup: Setup) -> Iterator[list[str]]:
    """Compare the pixels outside the face with the source only encoded again, and jitter, mouth and eyes inside it."""
    model, figures = setup.model, setup.figures
    target = weights.path("clip-single-face")
    hers = setup.folder / "her.png"
    cv2.imwrite(str(hers), frames_of("clip-woman-hands", 1, 242)[0][..., ::-1])
    wanted = request(setup.folder, target, programe=1, face_selector_mode="many", source=hers)
    swapped = decode(setup.folder / setup.run(swap_faces, wanted).video)
    plain, before = decode(encoded_again(target, setup)), decode(target)
    outside = [
        psnr_outside(one, other, model.detect(source))
        for one, other, source in zip(swapped, plain, before, strict=True)
    ]
    figures["psnr_outside_db"] = round(min(outside), 1)
    yield ["outside the face boxes, against the source encoded again", f"{min(outside):.1f} dB at the worst frame"]
    old, new = (followed(model, frames) for frames in (before, swapped))
    figures["jitter_ratio"] = round(jitter(new) / jitter(old), 3)
    yield ["landmark jitter after against before", f"{(jitter(new) / jitter(old) - 1) * 100:+.0f} %"]
    for name, contours in (("mouth", (INNER_LIPS,)), ("eyes", (LEFT_EYE, RIGHT_EYE))):
        openings = [[sum(opening(points, contour) for contour in contours) for points in found] for found in (old, new)]
        figures[f"{name}_correlation"] = round(float(np.corrcoef(np.array(openings))[0, 1]), 3)
        yield [f"opening of the {name} follows the target", f"correlation {figures[f'{name}_correlation']:.3f}"]


def encoded_again(target: Path, setup: Setup) -> Path:
    """Write the source, decoded and encoded as a result is, unchanged."""
    settings = setup.settings
    job = DirectJob(setup.folder, settings, service="bench")
    with job.input(str(target)) as file, open_video(file) as video, job.output(".mp4") as output:
        size = (video.width, video.height)
        encode(video.frames(), output, like=video, size=size, settings=settings, label=Label.of(settings, output))
    return setup.folder / output.name


def psnr_outside(one: Image, other: Image, faces: list[Face]) -> float:
    """Peak signal to noise outside the detector's boxes and a tenth around them, in decibels."""
    outside = np.ones(one.shape[:2], bool)
    for face in faces:
        margin = face.size * 0.1
        low, high = np.maximum(face.bbox[:2] - margin, 0).astype(int), (face.bbox[2:] + margin).astype(int)
        outside[low[1] : high[1], low[0] : high[0]] = False
    error = float(((one[outside].astype(np.float64) - other[outside]) ** 2).mean())
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


def followed(model: FaceModel, frames: list[Image]) -> list[npt.NDArray[np.float32]]:
    """Landmarks of the largest face of every frame, each found in that frame alone."""
    return [model.view(frame, largest(model, frame)).landmarks for frame in frames]


def jitter(points: list[npt.NDArray[np.float32]]) -> float:
    """Mean size of the second difference in time, in pixels."""
    return float(np.abs(np.diff([found[:, :2] for found in points], 2, axis=0)).mean())
