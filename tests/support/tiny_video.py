"""Video pipelines without networks, slow if asked for, so that a test can stop them where it wants."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch

from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared.arrays import Picture
from shared.contract.request import TaskRequest
from shared.media.decode import open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.networks.compute import Compute
from shared.networks.engines import Engine
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import VideoWork
from tests.support.stand_in import StandIn


def negative(job: Job, request: TaskRequest, path: str, *, seconds: float, crash_at: float = -1) -> Result:
    """Make the negative of a video, `seconds` a frame; end the process at the first frame from `crash_at` seconds on,
    unless it is below 0.
    """  # fmt: skip
    with job.input(path) as file, open_video(file) as source, job.output(".mp4") as target:

        def invert(frames: FrameRange, tally: "Counter[str]") -> Iterator[Frame]:
            for frame in frames:
                if 0 <= crash_at <= frame.pts * source.time_base:
                    os._exit(9)
                time.sleep(seconds)
                tally["frames"] += 1
                yield replace(frame, image=255 - frame.image)

        work = VideoWork(invert, (source.width, source.height), "negative")
        report, tally = make_video(job, request, source, target, work)
    job.details |= {"frames": report.frames, "counted": tally["frames"]}
    return Result(video=target.name)


def enlarged(job: Job, request: TaskRequest, path: str, *, seconds: float) -> Result:
    """Enlarge a video by the service's own pipeline."""
    asked = UpscaleRequest(task_id=request.task_id, dist_dir=request.dist_dir, video_url=path, ratio=2)
    return upscale_video(job, asked, Enlarger(seconds))  # type: ignore[arg-type]  # callable alike


def multiplied(job: Job, request: TaskRequest, path: str, *, seconds: float) -> Result:
    """Double the frame rate of a video by the service's own pipeline."""
    asked = InterpoRequest(task_id=request.task_id, dist_dir=request.dist_dir, video_url=path, rate=2)
    return interpolate_video(job, asked, Blend(seconds))


@dataclass
class Enlarger(StandIn):
    """Repeats every pixel."""

    seconds: float
    compute = SimpleNamespace(frames_at_once=1)  # type: ignore[assignment]  # one after another: they sleep

    def __call__(self, frame: Picture, ratio: int, between_windows: Callable[[float], None]) -> Picture:
        between_windows(0.0)
        time.sleep(self.seconds)
        return frame.repeat(ratio, 0).repeat(ratio, 1)


@dataclass
class Blend:
    """Mixes."""

    seconds: float
    name = "blend"
    engine = Engine(Compute(torch.device("cpu"), torch.float32))

    def pairs_at_once(self, _pixels: int) -> int:
        return 1

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> list[Picture]:
        time.sleep(self.seconds)
        return [((1 - at) * first + at * second).astype(first.dtype) for at in timesteps]
