"""Frame interpolation: one video through one model, several pairs at a time, in constant memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from services.interpo.pairs import Interpolate, begun, kind_of
from services.interpo.request import InterpoRequest
from services.interpo.resampling import Grid, resampled
from services.interpo.timing import Timeline
from shared.arrays import Picture
from shared.media.decode import VideoSource, open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.networks.compute import use_threads
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import Transform, VideoWork
from shared.process.cores import usable_cores
from shared.process.ordered_map import ordered_map


def interpolate_video(job: Job, request: InterpoRequest, model: Interpolate) -> Result:
    """Multiply the frame rate of `video_url`, or bring it to `fps`; sound and everything else but the rate are kept."""
    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:
        timeline, transform = _transform(job, request, source, model)
        if request.frame_rate:
            job.details["ignored_fields"] = ["rate"] if request.rate else []
        amount = request.work(source.width, source.height, source.frame_rate)
        work = VideoWork(
            transform,
            size=(source.width, source.height),
            model=model.name,
            multiple=float(amount.frames),
            frame_rate=timeline.frame_rate,
            time_base=timeline.time_base,
            limited=partial(amount.limited, name=file.name, limits=job.settings.limits),
        )
        report, pairs = make_video(job, request, source, target, work)
    job.details.update(
        model=model.name,
        encoder=report.encoder,
        lost=report.lost,
        frames=report.frames,
        pairs={kind: pairs[kind] for kind in ("moving", "still", "cut", *(["held"] if request.fps else []))},
    )
    return Result(video=target.name)


def _transform(
    job: Job, request: InterpoRequest, source: VideoSource, model: Interpolate
) -> tuple[Timeline | Grid, Transform]:
    """Return the clock of the faster video, and what makes its frames."""
    if request.frame_rate:
        origin = source.frame_at(0).pts
        new_grid = partial(Grid, request.frame_rate, source.frame_rate, source.time_base, origin)
        return new_grid(), lambda frames, pairs: resampled(frames, new_grid(), model, pairs)
    assert request.rate is not None
    at_once = model.pairs_at_once(source.width * source.height)
    new_timeline = partial(Timeline, request.rate, source.frame_rate, source.time_base)
    return new_timeline(), lambda frames, pairs: multiplied(
        frames, new_timeline(), model, pairs, at_once=at_once, check=job.check
    )


@dataclass(frozen=True)
class _Pair:
    """Two frames that follow each other, and what lies between them."""

    earlier: Frame
    later: Frame
    kind: str


def multiplied(
    frames: FrameRange,
    timeline: Timeline,
    model: Interpolate,
    pairs: "Counter[str]",
    *,
    at_once: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Frame]:
    """Yield the frames of the faster video up to the frame behind the range, those of the source unchanged among them;
    count the pairs of each kind. `check` is called after each picture that is made, and may raise to stop; `at_once`
    pairs are worked on side by side.
    """
    timesteps = [place / timeline.rate for place in range(1, timeline.rate)]

    def between(pair: _Pair) -> tuple[_Pair, list[Picture]]:
        if pair.kind != "moving":
            return pair, [pair.earlier.image] * len(timesteps)
        images = []
        for image in model(pair.earlier.image, pair.later.image, timesteps):
            images.append(image)
            check()
        return pair, images

    latest: Frame | None = None
    prepare = partial(use_threads, usable_cores() // at_once)
    for pair, images in ordered_map(between, _pairs(frames), at_once, prepare):
        pairs[pair.kind] += 1
        own, *instants = timeline.between(pair.earlier, pair.later)
        yield Frame(pair.earlier.image, own.pts, own.duration, pair.earlier.captions)
        for instant, image in zip(instants, images, strict=True):
            yield Frame(image, instant.pts, instant.duration)
        latest = pair.later
    if frames.following is None:
        yield from _last(latest or frames.latest, timeline)


def _last(last: Frame | None, timeline: Timeline) -> Iterator[Frame]:
    """Yield the last frame of the video for its time."""
    if last is None:
        return
    captions = last.captions
    for instant in timeline.after(last):
        yield Frame(last.image, instant.pts, instant.duration, captions)
        captions = None


def _pairs(frames: FrameRange) -> Iterator[_Pair]:
    """Yield the pairs of a range; the last one's later frame is the one behind it, if there is any."""
    cuts, upcoming = begun(frames)
    earlier: Frame | None = None
    for later in upcoming:
        if earlier is not None:
            yield _Pair(earlier, later, kind_of(earlier.image, later.image, cuts))
        earlier = later
