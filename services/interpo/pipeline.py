"""Frame interpolation: one video through one model, pair by pair, in constant memory."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol

import numpy as np

from services.interpo.request import InterpoRequest
from services.interpo.timing import Timeline
from shared.arrays import Picture
from shared.media.decode import open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.media.shot_boundary import CutDetector
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import VideoWork

_BEGIN = 3  # frames of a range that are looked at before its first pair is judged
_SAME = 2 / 255  # of full scale: how much rounding and a skipped block of the encoder change a repeated frame


class Interpolate(Protocol):
    """Two pictures and instants in (0, 1) to the pictures at those instants; `shared.networks.interpolator` has one."""

    @property
    def name(self) -> str:
        """Its name in the task's details."""

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> Iterable[Picture]:
        """Return one picture for each timestep, of the two pictures' size and dtype."""


def interpolate_video(job: Job, request: InterpoRequest, model: Interpolate) -> Result:
    """Multiply the frame rate of `video_url`; sound and everything else but the rate are kept."""
    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:

        def multiply(frames: FrameRange, pairs: Counter[str]) -> Iterator[Frame]:
            return multiplied(frames, Timeline(request.rate, source.frame_rate, source.time_base), model, pairs)

        timeline = Timeline(request.rate, source.frame_rate, source.time_base)
        work = VideoWork(
            multiply,
            size=(source.width, source.height),
            model=model.name,
            multiple=request.rate,
            frame_rate=timeline.frame_rate,
            time_base=timeline.time_base,
        )
        report, pairs = make_video(job, request, source, target, work)
    job.details.update(
        model=model.name,
        encoder=report.encoder,
        lost=report.lost,
        frames=report.frames,
        pairs={kind: pairs[kind] for kind in ("moving", "still", "cut")},
    )
    return Result(video=target.name)


def multiplied(frames: FrameRange, timeline: Timeline, model: Interpolate, pairs: Counter[str]) -> Iterator[Frame]:
    """Yield the frames of the faster video up to the frame behind the range, those of the source unchanged among them;
    count the pairs of each kind.
    """  # fmt: skip
    cuts, upcoming = _begun(frames)
    timesteps = [place / timeline.rate for place in range(1, timeline.rate)]
    earlier: Frame | None = None
    for later in upcoming:
        if earlier is not None:
            kind = _kind_of(earlier.image, later.image, cuts)
            pairs[kind] += 1
            own, *between = timeline.between(earlier, later)
            yield Frame(earlier.image, own.pts, own.duration)
            moving = kind == "moving"
            images = model(earlier.image, later.image, timesteps) if moving else [earlier.image] * len(between)
            for instant, image in zip(between, images, strict=True):
                yield Frame(image, instant.pts, instant.duration)
        earlier = later
    if earlier is not None and frames.following is None:
        for instant in timeline.after(earlier):
            yield Frame(earlier.image, instant.pts, instant.duration)


def _begun(frames: FrameRange) -> tuple[CutDetector, Iterator[Frame]]:
    """Return a detector that knows what is usual where the range begins, and the frames up to the one behind it.

    Within a film a shot goes on: what is usual in it is learned from its first two pairs.
    """
    cuts, upcoming = CutDetector(), _and_following(frames)
    if frames.opens:
        return cuts, upcoming
    begin = list(islice(upcoming, _BEGIN))
    if len(begin) == _BEGIN:
        cuts.expect([frame.image for frame in begin])
    return cuts, chain(begin, upcoming)


def _and_following(frames: FrameRange) -> Iterator[Frame]:
    """Yield the frames of a range and, where it has any, the one behind it."""
    yield from frames
    if frames.first is not None and frames.following is not None:
        yield frames.following


def _kind_of(earlier: Picture, later: Picture, cuts: CutDetector) -> str:
    """Return what is between two frames: motion, nothing, or a cut. For the last two the frame is repeated."""
    if _is_same(earlier, later):
        return "still"
    return "cut" if cuts.is_cut(earlier, later) else "moving"


def _is_same(earlier: Picture, later: Picture) -> bool:
    """Tell whether no value differs visibly: a repeated frame must not flicker between its two encodings."""
    larger, smaller = np.maximum(earlier, later), np.minimum(earlier, later)  # unsigned: subtract the right way round
    return bool((larger - smaller).max() <= _SAME * np.iinfo(earlier.dtype).max)
