"""A video pipeline without a network: negatives, slowly if asked for, so that a test can stop it where it wants."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from shared.contract.request import TaskRequest
from shared.media.decode import open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import VideoWork


def negative(job: Job, request: TaskRequest, path: str, *, seconds: float, crash_at: float) -> Result:
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
