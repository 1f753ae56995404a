"""Face fusion: a whole video (or picture), frame by frame, in constant memory."""

from contextlib import ExitStack
from functools import partial

from services.facefusion.face_analysis import SwapContext, gallery_of, nobody_in
from services.facefusion.face_selector import LEAST_SIZE, TOO_SMALL, only_unsteady
from services.facefusion.model import FaceModel
from services.facefusion.portrait import open_sources, prepare_sources
from services.facefusion.request import FaceFusionRequest
from services.facefusion.restoration.enhancement import enhanced
from services.facefusion.safety import audit_request, nsfw_gate
from services.facefusion.still import references_for, swap_still
from services.facefusion.turned import found_at_any_angle
from services.facefusion.video_swapper import STATE, VideoSwapper
from shared.errors import JobFailed
from shared.files.handles import InputFile
from shared.media.decode import VideoSource, open_video
from shared.media.image import is_picture, picture_suffix, read_picture, write_picture
from shared.media.provenance import Label
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import VideoWork


def swap_faces(job: Job, request: FaceFusionRequest, model: FaceModel) -> Result:
    """Put the sources' faces on the wanted faces of the whole target."""
    model = enhanced(job, request, model)
    with ExitStack() as stack:
        files, target = open_sources(job, request, stack), stack.enter_context(job.input(request.target_file))
        audit_request(job, request, files, target)
        sources = prepare_sources(job, request, model, files)
        context = SwapContext(job, request, model, sources, references_for(job, request, target, model))
        context.check_references()
        if is_picture(target):
            return swap_picture(context, target)
        with open_video(target) as video:
            return swap_video(context, video)


def swap_picture(context: SwapContext, target: InputFile) -> Result:
    """Swap a picture and write it in its own format."""
    job, request, model = context.job, context.request, context.model
    image = read_picture(target)
    gate = nsfw_gate(job, model)
    gate.check(image)
    job.details["nsfw"] = gate.report()
    faces = found_at_any_angle(model.detect, image)
    if context.needs_references:
        gallery = gallery_of(image, 0, request, model, faces)
        if not gallery.faces:
            raise nobody_in(0, gallery.filtered, gallery.unsteady)
        context = context.with_references(gallery.references(request, model))
        context.check_references()
    swapped = swap_still(context, image, faces)
    if not job.details["swapped_frames"]:
        reasons = {track["reason"] for track in job.details["match"]["tracks"]}
        nearest = job.details["match"]["nearest_distance"]
        raise nothing_matched(nearest, only_small=reasons == {TOO_SMALL}, unsteady=only_unsteady(reasons))
    with job.output(picture_suffix(target)) as output:
        write_picture(swapped, output, label=Label.of(job.settings, output))
    return Result(video=output.name)


def swap_video(context: SwapContext, video: VideoSource) -> Result:
    """Swap every frame; sound and timing stay as they are."""
    job, request, settings = context.job, context.request, context.job.settings
    swapper = VideoSwapper(context, video)
    limits = partial(
        request.work(video.width, video.height, video.frame_rate).limited, name=video.file.name, limits=settings.limits
    )
    enhancement = str(job.details.get("face_enhance"))
    work = VideoWork(
        lambda frames, _tally: swapper.swap(frames),
        (video.width, video.height),
        f"{context.model.swapper.name}, {context.model.embedder}",
        basis=(STATE, *source_hashes(job), settings.facefusion.model_dump_json(), enhancement),
        memory=swapper,
        limited=limits,
    )
    with job.output(".mp4") as target:
        written, _ = make_video(job, request, video, target, work)
        swapper.gate.finish()
        job.details |= swapper.report()
        job.details |= {"frames": written.frames, "encoder": written.encoder, "lost": written.lost}
        if not swapper.swapped:
            selector = swapper.selector
            raise nothing_matched(selector.nearest, only_small=selector.only_small, unsteady=selector.only_unsteady)
    return Result(video=target.name)


def source_hashes(job: Job) -> list[str]:
    """Return the hashes of the sources, one an entry, as the audit entry of this run has them."""
    audit = job.details["audit"]
    return audit.get("source_sha256s") or [audit["source_sha256"]]


def nothing_matched(nearest: float | None, *, only_small: bool = False, unsteady: bool = False) -> JobFailed:
    """Why no frame of a whole generation was changed; `nearest` is the smallest distance to the reference."""
    if only_small:
        return JobFailed("facefusion_small_faces", least=LEAST_SIZE)
    if unsteady:
        return JobFailed("facefusion_unsteady_faces")
    if nearest is None:
        return JobFailed("facefusion_nobody")
    return JobFailed("facefusion_no_match", nearest=f"{nearest:.3f}")
