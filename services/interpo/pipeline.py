"""Frame interpolation: one video through one model, several pairs at a time, in constant memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from services.interpo.filling import Shown, Span, filled
from services.interpo.pairs import Interpolate, pairs_of
from services.interpo.request import InterpoRequest
from services.interpo.resampling import Grid, resampled
from services.interpo.timing import Timeline
from shared.media.decode import VideoSource, open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import Transform, VideoWork


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
        engine=model.engine.name,
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
    how: Any = {"at_once": model.pairs_at_once(source.width * source.height), "check": job.check}
    if request.frame_rate:
        origin = source.frame_at(0).pts
        new_grid = partial(Grid, request.frame_rate, source.frame_rate, source.time_base, origin)
        return new_grid(), lambda frames, pairs: resampled(frames, new_grid(), model, pairs, **how)
    assert request.rate is not None
    new_timeline = partial(Timeline, request.rate, source.frame_rate, source.time_base)
    return new_timeline(), lambda frames, pairs: multiplied(frames, new_timeline(), model, pairs, **how)


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
    the rest is as for `filled`.
    """
    yield from filled(_spans(frames, timeline), model, pairs, at_once=at_once, check=check)
    if frames.following is None:
        yield from _last(frames.latest, timeline)


def _spans(frames: FrameRange, timeline: Timeline) -> Iterator[Span]:
    for pair in pairs_of(frames):
        times = timeline.between(pair.earlier, pair.later)
        instants = [Shown(Fraction(place, timeline.rate), time.pts, time.duration) for place, time in enumerate(times)]
        yield Span(pair, [replace(instants[0], captions=pair.earlier.captions), *instants[1:]])


def _last(last: Frame | None, timeline: Timeline) -> Iterator[Frame]:
    """Yield the last frame of the video for its time."""
    if last is None:
        return
    captions = last.captions
    for instant in timeline.after(last):
        yield Frame(last.image, instant.pts, instant.duration, captions)
        captions = None
