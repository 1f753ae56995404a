"""Face fusion: one frame as a preview, and the faces to choose from."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from services.facefusion.face import Face
from services.facefusion.face_analysis import Gallery, SwapContext, gallery_of, nobody_in
from services.facefusion.model import FaceModel
from services.facefusion.portrait import open_sources, prepare_sources
from services.facefusion.reference_face import Reference, faces_at, key_of
from services.facefusion.request import FaceFusionRequest
from services.facefusion.restoration.enhancement import enhanced
from services.facefusion.safety import audit_request, nsfw_gate
from services.facefusion.still import frame_of, references_for, swap_still
from services.facefusion.turned import found_at_any_angle
from shared.arrays import Image
from shared.media.image import write_picture
from shared.media.provenance import Label
from shared.pipeline.job import Job, Result

CROP_MARGIN = 0.25  # of the box, on each side
TOLD_FACES, COMPARED_FACES = 100, 20  # the most in the details


def preview_swap(job: Job, request: FaceFusionRequest, model: FaceModel) -> Result:
    """Swap one frame and cut out the faces in it; the faces are stored for the requests that follow."""
    model = enhanced(job, request, model)
    with ExitStack() as stack:
        files, target = open_sources(job, request, stack), stack.enter_context(job.input(request.target_file))
        audit_request(job, request, files, target)
        sources = prepare_sources(job, request, model, files)
        job.report(0.3)
        image, frame = frame_of(target, request.frame_number)
        key = key_of(target)
        context = SwapContext(job, request, model, sources, references_for(job, request, target, model))
    gate = nsfw_gate(job, model)
    gate.check(image)
    job.details["nsfw"] = gate.report()
    faces = found_at_any_angle(model.detect, image)
    gallery = gallery_of(image, frame, request, model, faces)
    if not gallery.faces:
        raise nobody_in(frame, gallery.filtered, gallery.unsteady)
    job.check()
    known = [gallery.reference(position, model) for position in range(len(gallery.faces))]
    job.details["faces"] = faces_told(known)
    if context.needs_references:
        context = context.with_references(tuple(faces_at(request, known)))
    swapped = swap_still(context, image, faces)
    job.report(0.8)
    with job.output(".jpg") as output:
        write_picture(swapped, output, label=Label.of(job.settings, output))
    return Result(
        preview=output.name,
        references=write_crops(job, gallery),
        artifact={"frame": frame, "faces": [face.to_json() for face in known]},
        artifact_key=key,
    )


def faces_told(known: Sequence[Reference]) -> list[dict[str, Any]]:
    """Return what the details tell of each face of the gallery, for a person who chooses one and a distance.

    `box` is x1, y1, x2, y2 in pixels of a frame of `size`; `distances` are those to the first faces, itself included.
    """
    embeddings = np.array([face.embedding for face in known], np.float32)
    distances = np.clip(1 - embeddings @ embeddings[:COMPARED_FACES].T, 0, 2)
    return [
        {
            "position": face.position,
            "box": [round(value, 1) for value in face.bbox],
            "size": list(face.size),
            "distances": [round(float(distance), 4) for distance in row],
        }
        for face, row in zip(known, distances, strict=True)
    ][:TOLD_FACES]


def write_crops(job: Job, gallery: Gallery) -> tuple[str, ...]:
    """Write each face of the gallery as a picture; return the file names in the gallery's order."""
    names = []
    for position, face in enumerate(gallery.faces):
        with job.output(".jpg", part=f"face{position}") as output:
            write_picture(crop(gallery.image, face), output, label=None)
        names.append(output.name)
    return tuple(names)


def crop(image: Image, face: Face) -> Image:
    """Cut a face out with a quarter of its box on each side, within the picture."""
    margin = face.size * CROP_MARGIN
    low = np.maximum(np.floor(face.bbox[:2] - margin), 0).astype(int)
    high = np.minimum(np.ceil(face.bbox[2:] + margin), [image.shape[1], image.shape[0]]).astype(int)
    return np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
