"""Upscaling: one video through one model, several frames at a time, in constant memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from threading import Lock

import cv2
import numpy as np

from services.upscale.request import UpscaleRequest
from services.upscale.size import Source, TargetSize
from shared.arrays import Picture
from shared.media.decode import VideoSource, open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.networks.changes import ChangedParts, Step
from shared.networks.compute import use_threads
from shared.networks.upscaler import Upscaler
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import VideoWork
from shared.process.ordered_map import ordered_map

Planned = tuple[Frame, Step]


def upscale_video(job: Job, request: UpscaleRequest, model: Upscaler) -> Result:
    """Enlarge every frame; times, sound, subtitles, rotation and colour tags are kept."""
    job.details |= {"model": model.name, "engine": model.engine.name}
    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:
        wanted = TargetSize.of(request, described(source))
        size = (wanted.width, wanted.height)
        if request.width or request.height:
            job.details |= told(request, source, wanted)
        threads = 1 if source.frame_count == 1 else model.compute.frames_at_once  # one frame has all threads

        def enlarge(frames: FrameRange, _tally: "Counter[str]") -> Iterator[Frame]:
            done = Done(job, source if frames.is_whole else None)
            for frame in enlarged(frames, ChangedParts(model, wanted.ratio), threads, done):
                yield replace(frame, image=resized(frame.image, size))

        work = VideoWork(
            enlarge,
            size,
            f"{model.name}, {model.engine.name}",
            sample_aspect_ratio=wanted.pixel_shape,
            limited=partial(
                request.work(source.width, source.height, source.frame_rate).limited,
                name=file.name,
                limits=job.settings.limits,
            ),
        )
        report, _ = make_video(job, request, source, target, work)
        job.details |= {"frames": report.frames, "encoder": report.encoder, "lost": report.lost}
    return Result(video=target.name)


def enlarged(frames: Iterator[Frame], parts: ChangedParts, threads: int, done: "Done") -> Iterator[Frame]:
    """Yield each frame enlarged: compared with the one before and put together in order, computed side by side."""

    def compute(planned: Planned) -> tuple[Frame, Step, list[Picture]]:
        frame, step = planned
        with done.frame() as between_windows:
            return frame, step, parts.compute(step, between_windows)

    planned = ((frame, parts.plan(frame.image)) for frame in frames)
    for frame, step, pieces in ordered_map(compute, planned, threads, partial(use_threads, 1)):
        yield replace(frame, image=parts.assemble(step, pieces))


class Done:
    """How much of a video is enlarged, counted in frames and parts of them by several threads."""

    def __init__(self, job: Job, source: VideoSource | None) -> None:
        """Without a `source`, of which frames are shares, nothing is reported, but a stop is passed on all the same."""
        self._job = job
        self._source = source
        self._frames = 0.0
        self._counting = Lock()

    def frame(self) -> "FrameDone":
        """Return the account of one more frame."""
        return FrameDone(self._add, self._job.check)

    def _add(self, more: float) -> None:
        with self._counting:
            self._frames += more
        if self._source is not None:
            self._job.report(self._source.share(self._frames))


class FrameDone:
    """One frame: entered, it is what is called between windows with the share done, 0-1; left, the frame is done."""

    def __init__(self, add: Callable[[float], None], check: Callable[[], None]) -> None:
        self._add = add
        self._check = check
        self._share = 0.0

    def __enter__(self) -> Callable[[float], None]:
        return self._so_far

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._so_far(1.0)

    def _so_far(self, share: float) -> None:
        self._check()
        self._add(share - self._share)
        self._share = share


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
