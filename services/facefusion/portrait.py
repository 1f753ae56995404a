"""The source's face: the largest of a picture; of a video or an animation the best one of its first frames.

A frame's face is judged by how sure the detector is of it, how large it is, how much it looks into the camera and how
sharp it is: the product of the four, each 0-1.
"""

from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from services.facefusion.face import Face, Float, align
from services.facefusion.face_analysis import eight_bits
from services.facefusion.model import FaceModel
from services.facefusion.nsfw import NsfwGate
from services.facefusion.request import FaceFusionRequest
from services.facefusion.restoration.kept_face import nobody
from services.facefusion.safety import nsfw_gate
from services.facefusion.swapper import PreparedSource
from services.facefusion.turned import TurnedFaces, found_at_any_angle
from shared.arrays import Image
from shared.errors import JobFailed
from shared.files.handles import InputFile
from shared.media.decode import open_video
from shared.media.image import is_animation, is_picture, read_picture, read_pictures
from shared.media.orientation import upright
from shared.pipeline.job import Job

SOURCE_FRAMES = 100  # of a video or an animation that are looked at
FULL_SIZE = 256  # pixels of a face's longer side, from which on a larger one is no better
HALF_SHARP = 60.0  # variance of the Laplacian of the aligned face (112 x 112, 0-255) at which sharpness counts half
LEAST_SIZE = 24  # pixels of a source's face, the longer side of its box: of a smaller one nothing can be taken


@dataclass(frozen=True)
class Portrait:
    """A picture with a source's face."""

    image: Image
    face: Face
    frame: int | None = None  # of a video or an animation


def prepare_sources(
    job: Job, request: FaceFusionRequest, model: FaceModel, files: dict[str, InputFile]
) -> tuple[PreparedSource, ...]:
    """Prepare the source of each entry of a request, a file that several of them name once.

    `files` are the opened sources by their paths. The job's details get the frames that were taken of videos. Where
    faces are only restored, the swapper is one that needs nobody. Raises JobFailed for a source without a face, or with
    too small a one.
    """
    if request.only_restores:
        return (model.swapper.prepare(*nobody()),) * len(request.entries)
    prepared: dict[str, PreparedSource] = {}
    frames: dict[str, int] = {}
    for entry in request.entries:
        if entry.source_file in prepared:
            continue
        portrait = portrait_of(files[entry.source_file], entry.field, model, nsfw_gate(job, model))
        prepared[entry.source_file] = model.swapper.prepare(portrait.image, model.view(portrait.image, portrait.face))
        if portrait.frame is not None:
            frames[entry.field] = portrait.frame
    if frames:
        job.details["source_frames"] = frames
    return tuple(prepared[entry.source_file] for entry in request.entries)


def open_sources(job: Job, request: FaceFusionRequest, stack: ExitStack) -> dict[str, InputFile]:
    """Open each source of a request once, by its path, until the stack ends; none where faces are only restored."""
    if request.only_restores:
        return {}
    paths = dict.fromkeys(entry.source_file for entry in request.entries)
    return {path: stack.enter_context(job.input(path)) for path in paths}


def portrait_of(file: InputFile, field: str, model: FaceModel, gate: NsfwGate) -> Portrait:
    """Find a source's face; `field` names the file in messages, the gate sees the picture that is used.

    Raises JobFailed when there is no face, only one of less than `LEAST_SIZE` pixels, or none on which landmarks hold.
    """
    if is_picture(file) and not is_animation(file):
        image = read_picture(file)
        gate.check(image)
        found = found_at_any_angle(model.detect, image)
        faces = [face for face in found if model.holds(image, face)]
        if found and not faces:
            raise JobFailed("facefusion_unsteady_source", field=field)
        best = max((Portrait(image, face) for face in faces), key=lambda found: found.face.area, default=None)
    else:
        best = best_of_frames(file, field, model)
        if best is not None:
            gate.check(best.image)
    if best is None:
        raise JobFailed("facefusion_no_source_face", field=field)
    size = float(best.face.size.max())
    if size < LEAST_SIZE:
        raise JobFailed("facefusion_small_source", field=field, size=round(size), least=LEAST_SIZE)
    return best


def best_of_frames(file: InputFile, field: str, model: FaceModel) -> Portrait | None:
    """Return the best face of the first frames of a video or an animation; None when none of them shows a face.

    Raises JobFailed, which names the `field`, when landmarks hold on no face of any frame.
    """
    best, highest, unsteady, turned = None, 0.0, False, TurnedFaces()
    with closing(frames_of(file)) as frames:
        for number, image in enumerate(islice(frames, SOURCE_FRAMES)):
            for face in turned(model.detect, image, model.detect(image)):
                found = quality(image, face)
                if found <= highest:
                    continue
                if model.holds(image, face):
                    best, highest = Portrait(image, face, number), found
                else:
                    unsteady = True
    if best is None and unsteady:
        raise JobFailed("facefusion_unsteady_source", field=field)
    return best


def quality(image: Image, face: Face) -> float:
    """How good a source this face is, 0-1: certainty x size x frontality x sharpness."""
    size = min(float(face.size.max()) / FULL_SIZE, 1.0)
    chip = cv2.cvtColor(align(image, face.landmarks5), cv2.COLOR_RGB2GRAY)
    variance = float(cv2.Laplacian(chip, cv2.CV_32F).var())
    return face.score * size * frontality(face.landmarks5) * variance / (variance + HALF_SHARP)


def frontality(landmarks5: Float) -> float:
    """1 for a nose in the middle between the eyes, 0 for one at or beyond the line through one of them.

    Measured along the line of the eyes, so that a tilted head is as frontal as an upright one.
    """
    across = landmarks5[1] - landmarks5[0]
    length = float(np.dot(across, across))
    if length <= 0:
        return 0.0
    place = float(np.dot(landmarks5[2] - landmarks5[0], across)) / length  # 0 at the left eye, 1 at the right one
    return max(0.0, 1 - abs(2 * place - 1))


def frames_of(file: InputFile) -> Generator[Image, None, None]:
    """Yield the frames of a video or an animation as a viewer sees them, with 8 bits a channel."""
    if is_animation(file):  # Pillow shows all of them, libav not every frame without a duration
        for picture in read_pictures(file):
            yield eight_bits(picture)
        return
    with open_video(file) as video, closing(video.frames()) as frames:
        for frame in frames:
            yield eight_bits(upright(frame.image, video.orientation))
