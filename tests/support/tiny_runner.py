"""A runner whose model is a tiny callable: the real process, the real queue, no network weights.

What a task does stands in its request, so that a test can order a wedge or a crash over the wire.
"""

import os
import time
from pathlib import Path
from typing import Annotated, Literal, get_args

from shared.contract.fields import Choice, Number, Text
from shared.contract.request import TaskRequest
from shared.errors import JobFailed
from shared.pipeline.job import Job, Result
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler
from shared.settings import Settings

Model = float
Behaviour = Literal[
    "work", "show", "sign", "crash", "fail", "break", "wedge", "publish_crash",
    "video", "upscale", "interpo", "faces", "restyle",
]  # fmt: skip


class TinyRequest(TaskRequest):
    """`behaviour`: work in steps of 20 ms, show a file before, sign with the name of its home and its version, crash
    the runner, fail, break, wedge (never check), publish then crash; video, upscale, interpo, faces, restyle: make the
    negative of `note`, a path, or have a service's own pipeline enlarge it, multiply it, swap its faces or draw it,
    `seconds` a frame. A negative crashes at `crash_at`.
    """

    seconds: Annotated[float, Number(0, 3600)] = 0.0
    behaviour: Annotated[
        Behaviour,
        Choice(*get_args(Behaviour)),
    ] = "work"
    note: Annotated[str, Text()] = ""
    crash_at: Annotated[float, Number(-1, 1_000_000)] = -1.0  # seconds of the source


def load(_settings: Settings) -> Model:
    return 2.0


def work(job: Job, request: TinyRequest, model: Model) -> Result:  # noqa: C901  # a branch for each behaviour
    match request.behaviour:
        case "video" | "upscale" | "interpo":
            from tests.support import tiny_video  # noqa: PLC0415  # codecs, which the other tasks do not need

            if request.behaviour == "video":
                return tiny_video.negative(
                    job, request, request.note, seconds=request.seconds, crash_at=request.crash_at
                )
            make = tiny_video.enlarged if request.behaviour == "upscale" else tiny_video.multiplied
            return make(job, request, request.note, seconds=request.seconds)
        case "faces" | "restyle":
            from tests.support import tiny_creation, tiny_faces  # noqa: PLC0415  # vision libraries

            draw = tiny_faces.swapped if request.behaviour == "faces" else tiny_creation.restyled
            return draw(job, request, request.note, seconds=request.seconds)
        case "crash":
            os._exit(9)
        case "fail":
            raise JobFailed("no_room", name="nowhere")
        case "break":
            raise ZeroDivisionError(request.note)
        case "wedge":
            time.sleep(request.seconds)
        case "show":
            with job.aside(".txt", part="shown") as aside:
                Path(aside.url).write_text("so far")
            job.tell({"shown": aside.name})
    job.details["model"] = model
    (job.workdir / "scratch").write_text("x")
    steps = max(1, round(request.seconds / 0.02))
    with job.output(".txt", part="text") as target:
        for _ in job.watch(range(steps), steps):
            time.sleep(request.seconds / steps)
        signature = f"{job.settings.state_dir.parent.name} {job.settings.version}"
        Path(target.url).write_text(signature if request.behaviour == "sign" else request.note or "done")
    if request.behaviour == "publish_crash":
        os._exit(9)
    artifact = {"note": request.note} if job.kind == "preview" else None
    return Result(video=target.name, artifact=artifact, artifact_key="tiny" if artifact else "")


if __name__ == "__main__":
    handler = TaskHandler(request=TinyRequest, load=load, work=work)
    main("upscale", {"generate": lambda: handler, "preview": lambda: handler})
