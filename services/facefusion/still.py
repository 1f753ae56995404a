"""One picture: which frame, whose face, and the swap on it."""

from services.facefusion.face_analysis import SwapContext, eight_bits, embedded_again, known_reference
from services.facefusion.face_selector import FaceSelector
from services.facefusion.model import FaceModel
from services.facefusion.reference_face import Reference
from services.facefusion.request import FaceFusionRequest
from services.facefusion.swapper import paste
from services.facefusion.track import Tracker
from shared.arrays import Image
from shared.files.handles import InputFile
from shared.media.decode import open_video
from shared.media.image import is_picture, read_picture
from shared.media.orientation import upright
from shared.pipeline.job import Job


def swap_still(context: SwapContext, image: Image) -> Image:
    """Swap the wanted faces of one upright picture; the match report is added to the job's details."""
    model = context.model
    tracker = Tracker(model.detect)
    selector = FaceSelector(context.criteria, model)
    swapped = image.copy()
    for track in selector(image, tracker(image, 0), 0):
        view = track.locate(image, model.landmarks, 1.0)
        patch = view and context.source.renderer()(image, view)
        if patch:
            paste(swapped, patch)
            selector.count_swapped(track)
    context.job.details |= {
        "swapper": model.swapper.name,
        "match": {"tracks": selector.report(tracker.all()), "nearest_distance": selector.nearest},
        "swapped_frames": int(any(match.swapped_frames for match in selector.matches.values())),
        **context.position_details,
    }
    return swapped


def frame_of(target: InputFile, number: int) -> tuple[Image, int]:
    """Return an upright frame of a target and its number: past the end the last one, of a picture 0."""
    if is_picture(target):
        return read_picture(target), 0
    with open_video(target) as video:
        image = eight_bits(upright(video.frame_at(number).image, video.orientation))
        return image, number if video.frame_count is None else min(number, video.frame_count - 1)


def reference_for(job: Job, request: FaceFusionRequest, target: InputFile, model: FaceModel) -> Reference | None:
    """Return the reference that acceptance stored with the job; None without one.

    One that another embedder saw is embedded again from the target's frame.
    """
    reference = known_reference(job, model)
    if reference is None and "reference" in job.context and request.face_selector_mode == "reference":
        stored = Reference.from_json(job.context["reference"])
        image, _ = frame_of(target, stored.frame)
        return embedded_again(stored, image, model)
    return reference
