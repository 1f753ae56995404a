"""Face fusion: a whole video (or picture), frame by frame, in constant memory."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from services.facefusion.face_analysis import SwapContext, eight_bits, gallery_of, prepare_source
from services.facefusion.face_selector import FaceSelector
from services.facefusion.model import FaceModel
from services.facefusion.reference_face import Reference
from services.facefusion.request import FaceFusionRequest
from services.facefusion.safety import nsfw_gate, write_audit_entry
from services.facefusion.still import reference_for, swap_still
from services.facefusion.swapper import FaceRenderer, paste
from services.facefusion.track import Tracker
from shared.arrays import Image, Picture
from shared.errors import JobFailed
from shared.files.handles import InputFile
from shared.media.decode import VideoSource, open_video
from shared.media.encode import encode
from shared.media.frame import Frame
from shared.media.image import is_picture, picture_suffix, read_picture, write_picture
from shared.media.orientation import as_stored, upright
from shared.media.provenance import Label
from shared.pipeline.job import Job, Result

FIRST_FACE_FRAMES = 300  # without a preview the reference is in the first of these frames that shows a face


def swap_faces(job: Job, request: FaceFusionRequest, model: FaceModel) -> Result:
    """Put the source's face on the wanted faces of the whole target."""
    with job.input(request.source_file) as portrait, job.input(request.target_file) as target:
        write_audit_entry(job, portrait, target)
        source = prepare_source(job, portrait, model)
        context = SwapContext(job, request, model, source, reference_for(job, request, target, model))
        if is_picture(target):
            return swap_picture(context, target)
        with open_video(target) as video:
            if context.needs_reference:
                context = context.with_reference(first_reference(video, request, model))
            return swap_video(context, video)


def swap_picture(context: SwapContext, target: InputFile) -> Result:
    """Swap a picture and write it in its own format."""
    job, request, model = context.job, context.request, context.model
    image = read_picture(target)
    gate = nsfw_gate(job, model)
    gate.check(image)
    job.details["nsfw"] = gate.report()
    if context.needs_reference:
        gallery = gallery_of(image, 0, request, model)
        if not gallery.faces:
            raise JobFailed("facefusion_filtered" if gallery.filtered else "facefusion_no_face", frame=0)
        context = context.with_reference(gallery.reference(request.reference_face_position, model))
    swapped = swap_still(context, image)
    if not job.details["swapped_frames"]:
        raise nothing_matched(job.details["match"]["nearest_distance"])
    with job.output(picture_suffix(target)) as output:
        write_picture(swapped, output, label=Label.of(job.settings, output))
    return Result(video=output.name)


def swap_video(context: SwapContext, video: VideoSource) -> Result:
    """Swap every frame; sound and timing stay as they are."""
    job = context.job
    swapper = VideoSwapper(context, video)
    work = context.request.work(video.width, video.height, video.frame_rate)
    with job.output(".mp4") as target:
        pictures = work.limited(video.frames(), name=video.file.name, limits=job.settings.limits)
        frames = swapper.swap(job.watch(pictures, video.share))
        label = Label.of(job.settings, target)
        written = encode(
            frames, target, like=video, size=(video.width, video.height), settings=job.settings, label=label
        )
        swapper.gate.finish()
        job.details |= (
            swapper.report()
            | context.position_details
            | {
                "frames": written.frames,
                "encoder": written.encoder,
                "lost": written.lost,
            }
        )
        if not swapper.swapped:
            raise nothing_matched(swapper.selector.nearest)
    return Result(video=target.name)


def first_reference(video: VideoSource, request: FaceFusionRequest, model: FaceModel) -> Reference:
    """Return the reference without a preview: the position counts in the first frame that shows a face."""
    filtered = 0
    for index, frame in enumerate(islice(video.frames(), FIRST_FACE_FRAMES)):
        gallery = gallery_of(eight_bits(upright(frame.image, video.orientation)), index, request, model)
        filtered += gallery.filtered
        if gallery.faces:
            return gallery.reference(request.reference_face_position, model)
    raise JobFailed("facefusion_filtered" if filtered else "facefusion_no_face", frame=0)


def nothing_matched(nearest: float | None) -> JobFailed:
    """Why no frame of a whole generation was changed; `nearest` is the smallest distance to the reference."""
    if nearest is None:
        return JobFailed("facefusion_nobody")
    return JobFailed("facefusion_no_match", nearest=f"{nearest:.3f}")


class VideoSwapper:
    """Swaps the frames of one job; everything that is remembered from frame to frame is kept here."""

    def __init__(self, context: SwapContext, video: VideoSource) -> None:
        self.video = video
        self.source = context.source
        self.model = context.model
        self.reference = context.reference
        self.selector = FaceSelector(context.criteria, context.model)
        self.tracker = Tracker(context.model.detect)
        self.gate = nsfw_gate(context.job, context.model, samples=max(int(video.duration_seconds), 1))
        self.renderers: dict[int, FaceRenderer] = {}  # by track number
        self.swapped = 0  # frames

    def swap(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Pass frames on, changed where a wanted face is; a frame without one stays the very same object."""
        next_sample = 0.0
        for index, frame in enumerate(frames):
            now = float(frame.pts * self.video.time_base)
            picture = upright(frame.image, self.video.orientation)
            image = eight_bits(picture)
            if now >= next_sample:
                self.gate.check(image)
                next_sample = now + 1
            swapped = self._render(picture, image, index)
            if swapped is None:
                yield frame
            else:
                self.swapped += 1
                yield replace(frame, image=as_stored(swapped, self.video.orientation))

    def report(self) -> dict[str, Any]:
        """Return the task's details: which faces were found, which were swapped, and why the others were not."""
        return {
            "swapper": self.model.swapper.name,
            "reference_frame": None if self.reference is None else self.reference.frame,
            "match": {"tracks": self.selector.report(self.tracker.all()), "nearest_distance": self.selector.nearest},
            "swapped_frames": self.swapped,
            "nsfw": self.gate.report(),
        }

    def _render(self, picture: Picture, image: Image, index: int) -> Picture | None:
        """Return a changed copy of the upright picture, whose 8 bits are `image`; None without a wanted face."""
        seconds = float(1 / self.video.frame_rate)
        swapped = None
        for track in self.selector(image, self.tracker(image, index), index):
            view = track.locate(image, self.model.landmarks, seconds)
            renderer = self.renderers.setdefault(track.number, self.source.renderer())
            patch = view and renderer(image, view)
            if patch:
                swapped = picture.copy() if swapped is None else swapped
                paste(swapped, patch)
                self.selector.count_swapped(track)
        for number in self.renderers.keys() - {track.number for track in self.tracker.tracks}:
            del self.renderers[number]
        return swapped
