"""What is known before the first frame is rendered: the sources, the faces of a frame, the references."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from services.facefusion.face import Face, Float
from services.facefusion.face_selector import EntryCriteria, SelectionCriteria
from services.facefusion.model import FaceModel
from services.facefusion.order_and_filters import Filters, ordered
from services.facefusion.reference_face import Reference, faces_at
from services.facefusion.request import FaceFusionRequest
from services.facefusion.swapper import PreparedSource
from services.facefusion.turned import found_at_any_angle
from shared.arrays import Image, Picture
from shared.errors import JobFailed
from shared.pipeline.job import Job


@dataclass(frozen=True)
class SwapContext:
    """Everything that is decided before the first frame is rendered."""

    job: Job
    request: FaceFusionRequest
    model: FaceModel
    sources: tuple[PreparedSource, ...]  # of the request's entries: one, unless it has `faces`
    # Of the entries; None in it: nobody is at an entry's position. None: mode "one" or "many", or not known before the
    # target has been read.
    references: tuple[Reference | None, ...] | None

    @property
    def needs_references(self) -> bool:
        """Whether the references must still be found in the target itself."""
        return self.references is None and self.request.face_selector_mode == "reference"

    def with_references(self, references: tuple[Reference | None, ...]) -> "SwapContext":
        """Return the same context with these references."""
        return replace(self, references=references)

    @property
    def reference(self) -> Reference | None:
        """The first reference that is known: the only one, unless the request has `faces`."""
        return next(filter(None, self.references or ()), None)

    def check_references(self) -> None:
        """Raise JobFailed when the references are known and there is none."""
        if self.references and self.reference is None:
            raise JobFailed("facefusion_entries_past_gallery")

    @property
    def position_details(self) -> dict[str, int]:
        """What the task's details say of the reference's position: nothing where it is the one that was asked for."""
        if self.request.faces or self.reference is None:
            return {}
        taken = self.reference.position
        return {} if taken == self.request.reference_face_position else {"reference_face_position": taken}

    def entry_details(self, tracks: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what the task's details say of each entry of `faces`, from the match report; nothing without them."""
        if not self.request.faces:
            return {}
        return {"entries": [self._entry_details(number, tracks) for number in range(len(self.request.entries))]}

    def _entry_details(self, number: int, tracks: list[dict[str, Any]]) -> dict[str, Any]:
        on = [track["track"] for track in tracks if track["entry"] == number and track["swapped_frames"]]
        said: dict[str, Any] = {"entry": number, "tracks": on}
        if self.references is not None:
            said["reference_face_position"] = self.request.entries[number].position
        if self.references and self.references[number] is None:
            said["reason"] = "no face at this position"
        elif not on:
            said["reason"] = "nobody matched"
        return said

    @property
    def criteria(self) -> SelectionCriteria:
        """What the request asks of the face selector."""
        request = self.request
        references = self.references or (None,) * len(request.entries)
        return SelectionCriteria(
            mode=request.face_selector_mode,
            order=request.face_analyse_order,
            entries=tuple(
                EntryCriteria(
                    filters=Filters(entry.age, entry.gender),
                    max_distance=entry.distance,
                    embedding=None if reference is None else np.array(reference.embedding, np.float32),
                    centre=None if reference is None else relative_centre(reference),
                )
                for entry, reference in zip(request.entries, references, strict=True)
            ),
            names_entries=bool(request.faces),
        )


@dataclass(frozen=True)
class Gallery:
    """The ordered set of faces of one frame, after the filters: what `reference_face_position` counts through."""

    image: Image
    frame: int
    faces: tuple[Face, ...]
    filtered: int  # how many faces the filters left out
    unsteady: int = 0  # how many were left out because their landmarks do not hold

    def references(self, request: FaceFusionRequest, model: FaceModel) -> tuple[Reference | None, ...]:
        """Embed the faces that the request's entries mean; None where nobody is there."""
        places = faces_at(request, range(len(self.faces)))
        return tuple(None if place is None else self.reference(place, model) for place in places)

    def reference(self, position: int, model: FaceModel) -> Reference:
        """Embed the face at a position, which must exist."""
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


def gallery_of(
    image: Image, frame: int, request: FaceFusionRequest, model: FaceModel, found: list[Face] | None = None
) -> Gallery:
    """Return the faces of a frame that can be swapped and pass the request's own filters, in its order.

    `found` are its faces, if they have been detected.
    """
    filters = Filters(request.face_analyse_age, request.face_analyse_gender)
    found = found_at_any_angle(model.detect, image) if found is None else found
    steady = [face for face in found if model.holds(image, face)]
    faces = ordered(steady, request.face_analyse_order, lambda face: face)
    passing = [
        face for face in faces if not filters.active or not filters.refusal(model.attributes(image, face.landmarks5))
    ]
    return Gallery(image, frame, tuple(passing), len(faces) - len(passing), len(found) - len(steady))


def nobody_in(frame: int, filtered: int, unsteady: int) -> JobFailed:
    """Why the gallery of a frame is empty, by how many faces were left out of it."""
    if filtered:
        return JobFailed("facefusion_filtered", frame=frame)
    return JobFailed("facefusion_unsteady_faces") if unsteady else JobFailed("facefusion_no_face", frame=frame)


def embedded_again(reference: Reference, image: Image, model: FaceModel) -> Reference:
    """Return a reference embedded with this model: the same, or its face again, from the frame in which it was seen."""
    if reference.embedder == model.embedder:
        return reference
    embedding = model.embed(image, np.array(reference.landmarks5, np.float32))
    return replace(reference, embedding=tuple(float(value) for value in embedding), embedder=model.embedder)


def relative_centre(reference: Reference) -> Float:
    """(x, y) of the middle of the reference's box in its frame, 0-1."""
    box = np.array(reference.bbox, np.float32)
    return np.asarray((box[:2] + box[2:]) / 2 / np.array(reference.size, np.float32), np.float32)


def eight_bits(picture: Picture) -> Image:
    """Return the picture with 8 bits a channel, which is what the networks take."""
    return picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
