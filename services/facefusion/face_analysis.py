"""Looking at pictures before anything is painted: the source's face, a frame's faces, the reference."""

from dataclasses import dataclass, replace

import numpy as np

from services.facefusion.attributes import Attributes
from services.facefusion.face import Face, Float, Image
from services.facefusion.face_selector import Wish
from services.facefusion.model import FaceModel
from services.facefusion.order_and_filters import Filters, ordered
from services.facefusion.reference_face import Reference
from services.facefusion.request import FaceFusionRequest
from services.facefusion.safety import gate
from services.facefusion.swapper import PreparedSource
from shared.arrays import Picture
from shared.errors import JobFailed
from shared.files.handles import InputFile
from shared.media.image import read_picture
from shared.pipeline.job import Job


@dataclass(frozen=True)
class Commission:
    """Everything that is settled before the first frame is painted."""

    job: Job
    request: FaceFusionRequest
    model: FaceModel
    source: PreparedSource
    reference: Reference | None  # None: mode "one" or "many", or not known before the target is looked at

    @property
    def needs_reference(self) -> bool:
        """Whether the reference must still be found in the target itself."""
        return self.reference is None and self.request.face_selector_mode == "reference"

    def with_reference(self, reference: Reference) -> "Commission":
        """Return the same with the reference settled."""
        return replace(self, reference=reference)

    @property
    def wish(self) -> Wish:
        """The request in the words of the casting."""
        request, reference = self.request, self.reference
        return Wish(
            mode=request.face_selector_mode,
            order=request.face_analyse_order,
            filters=Filters(request.face_analyse_age, request.face_analyse_gender),
            most=request.reference_face_distance,
            reference=None if reference is None else np.array(reference.embedding, np.float32),
            where=None if reference is None else middle(reference),
        )


@dataclass(frozen=True)
class Gallery:
    """The faces of one frame that the user is shown, in order."""

    image: Image
    frame: int
    faces: tuple[Face, ...]
    hidden: int  # faces that the filters keep out

    def check(self, position: int) -> None:
        """Raise JobFailed for a position past the end."""
        count = len(self.faces)
        if position >= count:
            raise JobFailed("facefusion_position", field="reference_face_position", value=position, count=count)

    def reference(self, position: int, model: FaceModel) -> Reference:
        """Say who is at a position; raise JobFailed past the end."""
        self.check(position)
        face = self.faces[position]
        return Reference(
            frame=self.frame,
            position=position,
            bbox=tuple(float(value) for value in face.bbox),
            points=tuple((float(x), float(y)) for x, y in face.points),
            size=(self.image.shape[1], self.image.shape[0]),
            embedding=tuple(float(value) for value in model.embed(self.image, face.points)),
            embedder=model.embedder,
        )


def prepare_source(job: Job, file: InputFile, model: FaceModel) -> PreparedSource:
    """Read the source picture and prepare its largest face; raise JobFailed when there is none."""
    image = read_picture(file)
    guard = gate(job, model)
    guard.look(image)
    face = model.largest(image)
    if face is None:
        raise JobFailed("facefusion_no_source_face", field="source_file")
    return model.swapper.prepare(image, model.view(image, face))


def gallery_of(image: Image, frame: int, request: FaceFusionRequest, model: FaceModel) -> Gallery:
    """Find the faces of a frame that pass the filters, in the request's order."""
    filters = Filters(request.face_analyse_age, request.face_analyse_gender)
    faces = ordered(model.detect(image), request.face_analyse_order, lambda face: face)
    passing = [face for face in faces if not filters.refusal(attributes(image, face, model, filters))]
    return Gallery(image, frame, tuple(passing), len(faces) - len(passing))


def attributes(image: Image, face: Face, model: FaceModel, filters: Filters) -> Attributes:
    """Read a face's attributes when a filter asks for them."""
    return model.attributes(image, face.points) if filters.active else Attributes(0, "female")


def known_reference(job: Job, model: FaceModel) -> Reference | None:
    """Return the reference that was resolved when the job was accepted; None when the run must look for itself.

    One that another embedder saw (the operator changed the swapper in between) cannot be compared: look again.
    """
    if "reference" not in job.context:
        return None
    found = Reference.from_json(job.context["reference"])
    return found if found.embedder == model.embedder else None


def seen_again(reference: Reference, image: Image, model: FaceModel) -> Reference:
    """Embed the same face anew from the frame it was seen in."""
    embedding = model.embed(image, np.array(reference.points, np.float32))
    return replace(reference, embedding=tuple(float(value) for value in embedding), embedder=model.embedder)


def middle(reference: Reference) -> Float:
    """Where the reference's face was in its frame, 0-1."""
    box = np.array(reference.bbox, np.float32)
    return np.asarray((box[:2] + box[2:]) / 2 / np.array(reference.size, np.float32), np.float32)


def eight_bits(picture: Picture) -> Image:
    """Return what the networks look at: 8 bits a channel."""
    return picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
