"""Frame interpolation: one video through one model, pair by pair, in constant memory."""

from collections import Counter
from collections.abc import Iterable, Iterator

from services.interpo.pairs import Interpolate, kind_of
from services.interpo.request import InterpoRequest
from services.interpo.resampling import Grid, resampled
from services.interpo.timing import Timeline
from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.frame import Frame
from shared.media.provenance import Label
from shared.media.shot_boundary import CutDetector
from shared.pipeline.job import Job, Result


def interpolate_video(job: Job, request: InterpoRequest, model: Interpolate) -> Result:
    """Multiply the frame rate of `video_url`, or bring it to `fps`; sound and everything else but the rate are kept."""
    pairs: Counter[str] = Counter()
    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:
        work = request.work(source.width, source.height, source.frame_rate)
        pictures = work.limited(source.frames(), name=file.name, limits=job.settings.limits)
        timeline: Timeline | Grid
        if request.frame_rate:
            timeline = Grid(request.frame_rate, source.frame_rate, source.time_base)
            frames = resampled(pictures, timeline, model, pairs)
            job.details["ignored_fields"] = ["rate"] if request.rate else []
        else:
            assert request.rate is not None
            timeline = Timeline(request.rate, source.frame_rate, source.time_base)
            frames = multiplied(pictures, timeline, model, pairs)
        report = encode(
            job.watch(frames, lambda made: source.share(made / float(work.frames))),
            target,
            like=source,
            size=(source.width, source.height),
            settings=job.settings,
            label=Label.of(job.settings, target),
            frame_rate=timeline.frame_rate,
            time_base=timeline.time_base,
        )
    job.details.update(
        model=model.name,
        encoder=report.encoder,
        lost=report.lost,
        frames=report.frames,
        pairs={kind: pairs[kind] for kind in ("moving", "still", "cut", *(["held"] if request.fps else []))},
    )
    return Result(video=target.name)


def multiplied(frames: Iterable[Frame], timeline: Timeline, model: Interpolate, pairs: Counter[str]) -> Iterator[Frame]:
    """Yield the frames of the faster video, those of the source unchanged among them; count the pairs of each kind."""
    cuts = CutDetector()
    timesteps = [place / timeline.rate for place in range(1, timeline.rate)]
    earlier: Frame | None = None
    for later in frames:
        if earlier is not None:
            kind = kind_of(earlier.image, later.image, cuts)
            pairs[kind] += 1
            own, *between = timeline.between(earlier, later)
            yield Frame(earlier.image, own.pts, own.duration, earlier.captions)
            moving = kind == "moving"
            images = model(earlier.image, later.image, timesteps) if moving else [earlier.image] * len(between)
            for instant, image in zip(between, images, strict=True):
                yield Frame(image, instant.pts, instant.duration)
        earlier = later
    if earlier is not None:
        captions = earlier.captions
        for instant in timeline.after(earlier):
            yield Frame(earlier.image, instant.pts, instant.duration, captions)
            captions = None
