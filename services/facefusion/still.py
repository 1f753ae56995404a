"""One picture: which frame, whose face, and the swap on it."""

from services.facefusion.face import Face
from services.facefusion.face_analysis import SwapContext, eight_bits, embedded_again
from services.facefusion.face_selector import FaceSelector
from services.facefusion.model import FaceModel
from services.facefusion.monochrome import paste_alike
from services.facefusion.reference_face import Reference
from services.facefusion.request import FaceFusionRequest
from services.facefusion.track import Tracker
from shared.arrays import Image
from shared.files.handles import InputFile
from shared.media.decode import open_video
from shared.media.image import is_picture, read_picture
from shared.media.orientation import upright
from shared.pipeline.job import Job


def swap_still(context: SwapContext, image: Image, faces: list[Face]) -> Image:
    """Swap the wanted ones of an upright picture's faces; the match report is added to the job's details."""
    model = context.model
    tracker = Tracker(model.detect)
    selector = FaceSelector(context.criteria, model)
    swapped = image.copy()
    for track in selector(image, tracker(image, 0, faces), 0):
        view = track.locate(image, model.landmarks, 1.0)
        patch = view and context.sources[selector.entry_of(track)].renderer()(image, view)
        if patch:
            paste_alike(swapped, patch)
            selector.count_swapped(track)
    tracks = selector.report(tracker.all())
    context.job.details |= {
        "swapper": model.swapper.name,
        "match": {"tracks": tracks, "nearest_distance": selector.nearest},
        "swapped_frames": int(any(match.swapped_frames for match in selector.matches.values())),
        **context.position_details,
        **context.entry_details(tracks),
    }
    return swapped


def frame_of(target: InputFile, number: int) -> tuple[Image, int]:
    """Return an upright frame of a target and its number: past the end the last one, of a picture 0."""
    if is_picture(target):
        return read_picture(target), 0
    with open_video(target) as video:
        image = eight_bits(upright(video.frame_at(number).image, video.orientation))
        return image, number if video.frame_count is None else min(number, video.frame_count - 1)


def references_for(
    job: Job, request: FaceFusionRequest, target: InputFile, model: FaceModel
) -> tuple[Reference | None, ...] | None:
    """Return the references that acceptance stored with the job, by entry; None where it knew of none.

    Those that another embedder saw (the operator changed the swapper in between) are embedded again, from the target's
    frame: embeddings of two embedders cannot be compared.
    """
    context = job.context
    stored = context.get("references") or ([context["reference"]] if "reference" in context else None)
    if stored is None or request.face_selector_mode != "reference":
        return None
    references = [None if value is None else Reference.from_json(value) for value in stored]
    strange = [reference for reference in references if reference and reference.embedder != model.embedder]
    if not strange:
        return tuple(references)
    image, _ = frame_of(target, strange[0].frame)
    return tuple(reference and embedded_again(reference, image, model) for reference in references)
