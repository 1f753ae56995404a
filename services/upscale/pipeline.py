"""Upscaling: one video through one model, frame by frame, in constant memory."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from services.upscale.request import UpscaleRequest
from services.upscale.size import Source, TargetSize
from shared.arrays import Picture
from shared.media.decode import VideoSource, open_video
from shared.media.encode import encode
from shared.media.provenance import Label
from shared.networks.changes import ChangedParts
from shared.networks.upscaler import Upscaler
from shared.pipeline.job import Job, Result


def upscale_video(job: Job, request: UpscaleRequest, model: Upscaler) -> Result:
    """Enlarge every frame; times, sound, subtitles, rotation and colour tags are kept."""
    job.details |= {"model": model.name, "engine": model.engine.name}

    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:
        wanted = TargetSize.of(request, described(source))
        size = (wanted.width, wanted.height)
        if request.width or request.height:
            job.details |= told(request, source, wanted)
        upscale = ChangedParts(model, wanted.ratio)

        def between_windows(done: float) -> None:
            job.report(source.share(source.frames_read - 1 + done))
            job.check()

        def enlarge(image: Picture) -> Picture:
            return resized(upscale(image, between_windows), size)

        work = request.work(source.width, source.height, source.frame_rate)
        pictures = work.limited(source.frames(), name=file.name, limits=job.settings.limits)
        frames = job.watch((replace(frame, image=enlarge(frame.image)) for frame in pictures), source.share)
        label = Label.of(job.settings, target)
        report = encode(
            frames,
            target,
            like=source,
            size=size,
            settings=job.settings,
            label=label,
            sample_aspect_ratio=wanted.pixel_shape,
        )
        job.details |= {"frames": report.frames, "encoder": report.encoder, "lost": report.lost}
    return Result(video=target.name)


def described(source: VideoSource) -> Source:
    """Return what the size of the result depends on."""
    shape = Fraction(source.sample_aspect_ratio or 1)
    return Source(source.width, source.height, source.orientation.swaps_sides, shape)


def told(request: UpscaleRequest, source: VideoSource, wanted: TargetSize) -> dict[str, object]:
    """Return what the task's details say of an exact size: as shown, and the pixels' shape where it had to change."""
    sides = (wanted.height, wanted.width) if source.orientation.swaps_sides else (wanted.width, wanted.height)
    details: dict[str, object] = {"size": "{}x{}".format(*sides), "ignored_fields": ["ratio"] if request.ratio else []}
    if wanted.pixel_shape is not None:
        details["pixel_shape"] = f"{wanted.pixel_shape.numerator}:{wanted.pixel_shape.denominator}"
    return details


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Average a picture (H, W, 3) over the areas of the pixels of `size` (width, height), which is not larger.

    This is what `shared.networks.area.area_average` does along both sides, computed where its matrices are not zero.
    """
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), picture.dtype)
