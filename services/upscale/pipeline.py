"""Upscaling: one video through one model, frame by frame, in constant memory."""

from services.upscale.request import UpscaleRequest
from shared.arrays import Picture
from shared.media.decode import open_video
from shared.media.frame import repeat_identical
from shared.networks.upscaler import Upscaler
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import VideoWork


def upscale_video(job: Job, request: UpscaleRequest, model: Upscaler) -> Result:
    """Enlarge every frame `ratio` times; times, sound, subtitles, rotation and colour tags are kept."""
    job.details |= {"model": model.name, "engine": model.compute.name}

    def enlarge(image: Picture) -> Picture:
        return model(image, request.ratio, between_windows=job.check)

    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:
        size = (source.width * request.ratio, source.height * request.ratio)
        work = VideoWork(lambda frames, _tally: repeat_identical(frames, enlarge), size, model.name)
        report, _ = make_video(job, request, source, target, work)
        job.details |= {"frames": report.frames, "encoder": report.encoder, "lost": report.lost}
    return Result(video=target.name)
