"""Face fusion: one frame to look at, and the faces to choose from."""

import numpy as np

from services.facefusion import care
from services.facefusion.casting import Casting
from services.facefusion.face import Face, Image
from services.facefusion.gallery import Reference, target_key
from services.facefusion.look import (
    Commission,
    Gallery,
    eight_bits,
    gallery_of,
    known_reference,
    prepare_source,
    seen_again,
)
from services.facefusion.model import FaceModel
from services.facefusion.request import FaceFusionRequest
from services.facefusion.swapper import paste
from services.facefusion.track import Tracker
from shared.errors import JobFailed
from shared.files.handles import InputFile
from shared.media.decode import open_video
from shared.media.frame import upright
from shared.media.image import is_picture, read_picture, write_picture
from shared.media.provenance import Label
from shared.pipeline.job import Job, Result

CROP_MARGIN = 0.25  # of the box, a side


def preview_swap(job: Job, request: FaceFusionRequest, model: FaceModel) -> Result:
    """Swap one frame, and cut out the faces that it shows; the faces are remembered for the requests that follow."""
    with job.input(request.source_file) as portrait, job.input(request.target_file) as target:
        care.note(job, portrait, target)
        source = prepare_source(job, portrait, model)
        job.report(0.3)
        image, frame = frame_of(target, request.frame_number)
        key = target_key(target.name, target.size, target.mtime_ns)
        commission = Commission(job, request, model, source, reference_for(job, request, target, model))
    guard = care.gate(job, model)
    guard.look(image)
    job.details["nsfw"] = guard.report()
    gallery = gallery_of(image, frame, request, model)
    if not gallery.faces:
        raise JobFailed("facefusion_filtered" if gallery.hidden else "facefusion_no_face", frame=frame)
    job.check()
    known = [gallery.reference(position, model) for position in range(len(gallery.faces))]
    if commission.needs_reference:
        gallery.check(request.reference_face_position)
        commission = commission.with_reference(known[request.reference_face_position])
    painted = swap_still(commission, image)
    job.report(0.8)
    with job.output(".jpg") as output:
        write_picture(painted, output, label=Label.of(job.settings, output))
    return Result(
        preview=output.name,
        references=write_crops(job, gallery),
        memo={"frame": frame, "faces": [face.to_json() for face in known]},
        memo_key=key,
    )


def swap_still(commission: Commission, image: Image) -> Image:
    """Swap the wanted faces of one upright picture; the match report goes into the job's details."""
    model = commission.model
    tracker = Tracker(model.detect)
    casting = Casting(commission.wish, model)
    painted = image.copy()
    for track in casting(image, tracker(image, 0), 0):
        view = track.locate(image, model.landmarks, 1.0)
        patch = view and commission.source.painter()(image, view)
        if patch:
            paste(painted, patch)
            casting.painted(track)
    commission.job.details |= {
        "swapper": model.swapper.name,
        "match": {"tracks": casting.report(tracker.all()), "nearest_distance": casting.nearest},
        "swapped_frames": int(any(verdict.painted for verdict in casting.verdicts.values())),
    }
    return painted


def frame_of(target: InputFile, number: int) -> tuple[Image, int]:
    """Return a target's frame as a viewer sees it, and its number: past the end the last one, of a picture 0."""
    if is_picture(target):
        return read_picture(target), 0
    with open_video(target) as video:
        last = None if video.frame_count is None else video.frame_count - 1
        return eight_bits(upright(video.frame_at(number).image, video.rotation)), number if last is None else min(
            number, last
        )


def reference_for(job: Job, request: FaceFusionRequest, target: InputFile, model: FaceModel) -> Reference | None:
    """Return the reference of acceptance, embedded anew when another embedder saw it; None without one."""
    reference = known_reference(job, model)
    if reference is None and "reference" in job.context and request.face_selector_mode == "reference":
        stored = Reference.from_json(job.context["reference"])
        image, _ = frame_of(target, stored.frame)
        return seen_again(stored, image, model)
    return reference


def write_crops(job: Job, gallery: Gallery) -> tuple[str, ...]:
    """Write each face of the gallery as a picture of its own."""
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
