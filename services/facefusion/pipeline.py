"""Face fusion: a whole video (or picture), frame by frame, in constant memory."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from services.facefusion import safety
from services.facefusion.face_analysis import Commission, eight_bits, gallery_of, prepare_source
from services.facefusion.face_selector import Casting
from services.facefusion.model import FaceModel
from services.facefusion.reference_face import Reference
from services.facefusion.request import FaceFusionRequest
from services.facefusion.still import reference_for, swap_still
from services.facefusion.swapper import Painter, paste
from services.facefusion.track import Tracker
from shared.errors import JobFailed
from shared.files.handles import InputFile
from shared.media.decode import VideoSource, open_video
from shared.media.encode import encode
from shared.media.frame import Frame, as_stored, upright
from shared.media.image import is_picture, picture_suffix, read_picture, write_picture
from shared.media.provenance import Label
from shared.pipeline.job import Job, Result

FIRST_FACE_FRAMES = 300  # without a preview the reference is in the first of these frames that shows a face


def swap_faces(job: Job, request: FaceFusionRequest, model: FaceModel) -> Result:
    """Put the source's face on the wanted faces of the whole target."""
    with job.input(request.source_file) as portrait, job.input(request.target_file) as target:
        safety.note(job, portrait, target)
        source = prepare_source(job, portrait, model)
        commission = Commission(job, request, model, source, reference_for(job, request, target, model))
        if is_picture(target):
            return swap_picture(commission, target)
        with open_video(target) as video:
            if commission.needs_reference:
                commission = commission.with_reference(first_reference(video, request, model))
            return swap_video(commission, video)


def swap_picture(commission: Commission, target: InputFile) -> Result:
    """Swap a picture and write it in its own format."""
    job, request, model = commission.job, commission.request, commission.model
    image = read_picture(target)
    guard = safety.gate(job, model)
    guard.look(image)
    job.details["nsfw"] = guard.report()
    if commission.needs_reference:
        gallery = gallery_of(image, 0, request, model)
        if not gallery.faces:
            raise JobFailed("facefusion_filtered" if gallery.hidden else "facefusion_no_face", frame=0)
        commission = commission.with_reference(gallery.reference(request.reference_face_position, model))
    painted = swap_still(commission, image)
    if not job.details["swapped_frames"]:
        raise nothing_matched(job.details["match"]["nearest_distance"])
    with job.output(picture_suffix(target)) as output:
        write_picture(painted, output, label=Label.of(job.settings, output))
    return Result(video=output.name)


def swap_video(commission: Commission, video: VideoSource) -> Result:
    """Swap every frame; sound and timing stay as they are."""
    job = commission.job
    stage = Stage(commission, video)
    with job.output(".mp4") as target:
        frames = stage.paint(job.watch(video.frames(), video.frame_count))
        label = Label.of(job.settings, target)
        written = encode(
            frames, target, like=video, size=(video.width, video.height), settings=job.settings, label=label
        )
        stage.guard.close()
        job.details |= stage.report() | {
            "frames": written.frames,
            "encoder": written.encoder,
            "lost": written.lost,
        }
        if not stage.swapped:
            raise nothing_matched(stage.casting.nearest)
    return Result(video=target.name)


def first_reference(video: VideoSource, request: FaceFusionRequest, model: FaceModel) -> Reference:
    """Without a preview: the position counts in frame 0, or in the first frame that shows a face."""
    hidden = 0
    for index, frame in enumerate(islice(video.frames(), FIRST_FACE_FRAMES)):
        gallery = gallery_of(eight_bits(upright(frame.image, video.rotation)), index, request, model)
        hidden += gallery.hidden
        if gallery.faces:
            return gallery.reference(request.reference_face_position, model)
    raise JobFailed("facefusion_filtered" if hidden else "facefusion_no_face", frame=0)


def nothing_matched(nearest: float | None) -> JobFailed:
    """Why no frame of a whole generation was changed."""
    if nearest is None:
        return JobFailed("facefusion_nobody")
    return JobFailed("facefusion_no_match", nearest=f"{nearest:.3f}")


class Stage:
    """Where the frames of one job pass by; everything that is remembered from frame to frame lives here."""

    def __init__(self, commission: Commission, video: VideoSource) -> None:
        self.video = video
        self.source = commission.source
        self.model = commission.model
        self.reference = commission.reference
        self.casting = Casting(commission.wish, commission.model)
        self.tracker = Tracker(commission.model.detect)
        self.guard = safety.gate(commission.job, commission.model, samples=max(int(video.duration_seconds), 1))
        self.painters: dict[int, Painter] = {}
        self.swapped = 0

    def paint(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Pass frames on, changed where a wanted face is; a frame without one stays the very same object."""
        seconds = float(1 / self.video.frame_rate)
        next_sample = 0.0
        for index, frame in enumerate(frames):
            now = float(frame.pts * self.video.time_base)
            picture = upright(frame.image, self.video.rotation)
            image = eight_bits(picture)
            if now >= next_sample:
                self.guard.look(image)
                next_sample = now + 1
            painted = None
            for track in self.casting(image, self.tracker(image, index), index):
                view = track.locate(image, self.model.landmarks, seconds)
                painter = self.painters.setdefault(track.number, self.source.painter())
                patch = view and painter(image, view)
                if patch:
                    painted = picture.copy() if painted is None else painted
                    paste(painted, patch)
                    self.casting.painted(track)
            for number in self.painters.keys() - {track.number for track in self.tracker.tracks}:
                del self.painters[number]
            if painted is None:
                yield frame
            else:
                self.swapped += 1
                yield replace(frame, image=as_stored(painted, self.video.rotation))

    def report(self) -> dict[str, Any]:
        """Say what the task's details tell: who was found, who was swapped, and why not."""
        return {
            "swapper": self.model.swapper.name,
            "reference_frame": None if self.reference is None else self.reference.frame,
            "match": {"tracks": self.casting.report(self.tracker.all()), "nearest_distance": self.casting.nearest},
            "swapped_frames": self.swapped,
            "nsfw": self.guard.report(),
        }
