"""What is known before the first frame is rendered: the source's face, the faces of a frame, the reference."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from services.facefusion.face import Face, Float
from services.facefusion.face_selector import SelectionCriteria
from services.facefusion.model import FaceModel
from services.facefusion.order_and_filters import Filters, ordered
from services.facefusion.reference_face import Reference, last_or
from services.facefusion.request import FaceFusionRequest
from services.facefusion.restoration.kept_face import nobody
from services.facefusion.safety import nsfw_gate
from services.facefusion.swapper import PreparedSource
from shared.arrays import Image, Picture
from shared.errors import JobFailed
from shared.files.handles import InputFile
from shared.media.image import read_picture
from shared.pipeline.job import Job


@dataclass(frozen=True)
class SwapContext:
    """Everything that is decided before the first frame is rendered."""

    job: Job
    request: FaceFusionRequest
    model: FaceModel
    source: PreparedSource
    reference: Reference | None  # None: mode "one" or "many", or not known before the target has been read

    @property
    def needs_reference(self) -> bool:
        """Whether the reference must still be found in the target itself."""
        return self.reference is None and self.request.face_selector_mode == "reference"

    def with_reference(self, reference: Reference) -> "SwapContext":
        """Return the same context with this reference."""
        return replace(self, reference=reference)

    @property
    def position_details(self) -> dict[str, int]:
        """What the task's details say of the reference's position: nothing where it is the one that was asked for."""
        taken = None if self.reference is None else self.reference.position
        if taken is None or taken == self.request.reference_face_position:
            return {}
        return {"reference_face_position": taken}

    @property
    def criteria(self) -> SelectionCriteria:
        """What the request asks of the face selector."""
        request, reference = self.request, self.reference
        return SelectionCriteria(
            mode=request.face_selector_mode,
            order=request.face_analyse_order,
            filters=Filters(request.face_analyse_age, request.face_analyse_gender),
            max_distance=request.reference_face_distance,
            embedding=None if reference is None else np.array(reference.embedding, np.float32),
            centre=None if reference is None else relative_centre(reference),
        )


@dataclass(frozen=True)
class Gallery:
    """The ordered set of faces of one frame, after the filters: what `reference_face_position` counts through."""

    image: Image
    frame: int
    faces: tuple[Face, ...]
    filtered: int  # how many faces the filters left out

    def reference(self, position: int, model: FaceModel) -> Reference:
        """Embed the face at a position; past the end it is the last face. There must be one."""
        position = last_or(position, len(self.faces))
        face = self.faces[position]
        return Reference(
            frame=self.frame,
            position=position,
            bbox=tuple(float(value) for value in face.bbox),
            landmarks5=tuple((float(x), float(y)) for x, y in face.landmarks5),
            size=(self.image.shape[1], self.image.shape[0]),
            embedding=tuple(float(value) for value in model.embed(self.image, face.landmarks5)),
            embedder=model.embedder,
        )


def portrait_of(job: Job, request: FaceFusionRequest) -> AbstractContextManager[InputFile | None]:
    """Open the source picture; None where nobody is swapped in."""
    return nullcontext() if request.only_restores else job.input(request.source_file)


def prepare_source(job: Job, file: InputFile | None, model: FaceModel) -> PreparedSource:
    """Read the source picture and prepare its largest face; raise JobFailed when there is none.

    Without a file the faces are only restored: the swapper is one that needs nobody.
    """
    if file is None:
        return model.swapper.prepare(*nobody())
    image = read_picture(file)
    nsfw_gate(job, model).check(image)
    face = model.largest(image)
    if face is None:
        raise JobFailed("facefusion_no_source_face", field="source_file")
    return model.swapper.prepare(image, model.view(image, face))


def gallery_of(image: Image, frame: int, request: FaceFusionRequest, model: FaceModel) -> Gallery:
    """Find the faces of a frame that pass the filters, in the request's order."""
    filters = Filters(request.face_analyse_age, request.face_analyse_gender)
    faces = ordered(model.detect(image), request.face_analyse_order, lambda face: face)
    passing = [
        face for face in faces if not filters.active or not filters.refusal(model.attributes(image, face.landmarks5))
    ]
    return Gallery(image, frame, tuple(passing), len(faces) - len(passing))


def known_reference(job: Job, model: FaceModel) -> Reference | None:
    """Return the reference that was resolved when the job was accepted; None when the run must find it itself.

    Also None for one of another embedder (the operator changed the swapper in between): such embeddings cannot be
    compared.
    """
    if "reference" not in job.context:
        return None
    found = Reference.from_json(job.context["reference"])
    return found if found.embedder == model.embedder else None


def embedded_again(reference: Reference, image: Image, model: FaceModel) -> Reference:
    """Embed the same face with this model, from the frame in which it was seen."""
    embedding = model.embed(image, np.array(reference.landmarks5, np.float32))
    return replace(reference, embedding=tuple(float(value) for value in embedding), embedder=model.embedder)


def relative_centre(reference: Reference) -> Float:
    """(x, y) of the middle of the reference's box in its frame, 0-1."""
    box = np.array(reference.bbox, np.float32)
    return np.asarray((box[:2] + box[2:]) / 2 / np.array(reference.size, np.float32), np.float32)


def eight_bits(picture: Picture) -> Image:
    """Return the picture with 8 bits a channel, which is what the networks take."""
    return picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
