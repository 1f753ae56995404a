"""One picture: which frame, whose face, and the swap on it."""

from services.facefusion.face import Image
from services.facefusion.face_analysis import Commission, eight_bits, known_reference, seen_again
from services.facefusion.face_selector import Casting
from services.facefusion.model import FaceModel
from services.facefusion.reference_face import Reference
from services.facefusion.request import FaceFusionRequest
from services.facefusion.swapper import paste
from services.facefusion.track import Tracker
from shared.files.handles import InputFile
from shared.media.decode import open_video
from shared.media.frame import upright
from shared.media.image import is_picture, read_picture
from shared.pipeline.job import Job


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
