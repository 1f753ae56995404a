"""Upscaling: one video through one model, frame by frame, in constant memory."""

from services.upscale.request import UpscaleRequest
from shared.arrays import Picture
from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.frame import repeat_identical
from shared.media.provenance import Label
from shared.networks.upscaler import Upscaler
from shared.pipeline.job import Job, Result


def upscale_video(job: Job, request: UpscaleRequest, model: Upscaler) -> Result:
    """Enlarge every frame `ratio` times; times, sound, subtitles, rotation and colour tags are kept."""
    job.details |= {"model": model.name, "engine": model.compute.name}

    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:

        def between_windows(done: float) -> None:
            job.report(source.share(source.frames_read - 1 + done))
            job.check()

        def enlarge(image: Picture) -> Picture:
            return model(image, request.ratio, between_windows=between_windows)

        size = (source.width * request.ratio, source.height * request.ratio)
        work = request.work(source.width, source.height)
        pictures = work.limited(source.frames(), name=file.name, limits=job.settings.limits)
        frames = job.watch(repeat_identical(pictures, enlarge), source.share)
        label = Label.of(job.settings, target)
        report = encode(frames, target, like=source, size=size, settings=job.settings, label=label)
        job.details |= {"frames": report.frames, "encoder": report.encoder, "lost": report.lost}
    return Result(video=target.name)
