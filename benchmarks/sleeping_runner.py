"""A runner whose model sleeps: the real process, queue and segments, and nothing that computes.

`python -m benchmarks.sleeping_runner [--slot 1]`; `running` starts several of them.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from shared.contract.fields import Number, Text
from shared.contract.request import TaskRequest
from shared.media.decode import open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.pipeline.job import Job, Result
from shared.pipeline.video import make_video
from shared.pipeline.video_work import VideoWork
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler

ROOT = Path(__file__).parents[1]
STEPS = 10  # of a task without a video
STOP_SECONDS = 20.0


class Nap(TaskRequest):
    """A task that takes `seconds`, or makes the negative of `video_url` and takes so many for each frame."""

    seconds: Annotated[float, Number(0, 3600)] = 1.0
    video_url: Annotated[str, Text()] = ""


def work(job: Job, request: Nap, _model: None) -> Result:
    """Sleep, and publish a video if one is given."""
    if not request.video_url:
        for _ in job.watch(range(STEPS), STEPS):
            time.sleep(request.seconds / STEPS)
        return Result()

    def invert(frames: FrameRange, _tally: "Counter[str]") -> Iterator[Frame]:
        for frame in frames:
            time.sleep(request.seconds)
            yield replace(frame, image=255 - frame.image)

    with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:
        report, _ = make_video(job, request, source, target, VideoWork(invert, (source.width, source.height), "nap"))
    job.details["frames"] = report.frames
    return Result(video=target.name)


@contextmanager
def running(home: Path, environment: Mapping[str, str], prefixes: Sequence[Sequence[str]]) -> Iterator[None]:
    """Start a runner process for each prefix of a command line, all with one state directory, and end them.

    What they say goes to `home`. `environment` is added to the caller's, without its settings.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KINORA_")}
    # Such a model needs no cores: the priority of a runner that computes would only be in its way.
    settings = {"KINORA_STATE_DIR": str(home / "runners"), "KINORA_DEVICE": "cuda", "KINORA_DRAIN_SECONDS": "0"}
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context((home / "runners.log").open("ab"))
        for slot, prefix in enumerate(prefixes):
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", __spec__.name, "--slot", str(slot)], cwd=ROOT,
                env=inherited | settings | dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(_end, process)
            stack.callback(process.terminate)  # all are asked before any is waited for
        yield


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    handler = TaskHandler(request=Nap, load=lambda _settings: None, work=work)
    main("upscale", {"generate": lambda: handler})
