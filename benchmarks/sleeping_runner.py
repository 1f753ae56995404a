"""A runner whose model sleeps: the real process, queue and segments, and nothing that computes.

`running` starts several of them: `python -m benchmarks.sleeping_runner 64`.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
def running(home: Path, environment: Mapping[str, str], count: int, prefix: Sequence[str] = ()) -> Iterator[None]:
    """Run so many runners, each a process, with a state directory in `home`, where their log is too; then end them.

    Their command line begins with `prefix`; `environment` is added to the caller's, without its settings.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KINORA_")}
    # Such a model needs no cores: the priority of a runner that computes would only be in its way.
    settings = {"KINORA_STATE_DIR": str(home / "state"), "KINORA_DEVICE": "cuda", "KINORA_DRAIN_SECONDS": "0"}
    home.mkdir(parents=True, exist_ok=True)
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", __spec__.name, str(count)], cwd=ROOT, start_new_session=True,
            env=inherited | settings | dict(environment), stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield
    finally:
        try:
            process.communicate(timeout=STOP_SECONDS)  # the end of standard input asks them to stop
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def serve(count: int) -> None:
    """Be the parent of so many runners, which have its modules in common; end when all of them have ended."""
    handler = TaskHandler(request=Nap, load=lambda _settings: None, work=work)
    for slot in range(count):
        if os.fork() == 0:
            sys.argv[1:] = ["--slot", str(slot), "--exit-on-stdin-eof"]  # when a benchmark is killed, too
            main("upscale", {"generate": lambda: handler})
            return
    for _ in range(count):
        os.wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
