"""The upscale service with a runner that only copies: everything is real but the model, thousands of tasks a minute.

Served, it is the HTTP face: `bentoml serve tests.quick_service:Quick`. Run as a module, it is the runner.
"""

import os
from pathlib import Path

import bentoml

from services.upscale.request import UpscaleRequest
from shared.contract import Answer
from shared.envelope import EnvelopeService
from shared.job import Job, Result
from shared.lifeline import die_with_parent
from shared.runner import Lane, main
from shared.settings import Settings
from shared.tasks_face import TasksFace

tasks = TasksFace("upscale")


@bentoml.asgi_app(tasks.app)
@bentoml.service(name="quick", workers=1, traffic={"timeout": 30}, service_class=EnvelopeService)
class Quick:
    """Hands videos back as they came."""

    def __init__(self) -> None:
        from shared.desk import TaskDesk  # noqa: PLC0415  # as the service does

        settings = Settings.load()
        self.desk = TaskDesk("upscale", settings, runner_module="tests.quick_service")
        tasks.serve(self.desk, settings.language)

    @bentoml.on_startup
    async def start(self) -> None:
        die_with_parent(Settings.load().master_pid)
        await self.desk.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        await self.desk.stop()

    async def __is_ready__(self) -> bool:
        return self.desk.ready()

    @bentoml.api(route="/api/ai/upscale")
    async def submit(self, request: UpscaleRequest, /) -> Answer:
        """Accept a video to be copied."""
        return await self.desk.accept(request, inputs={"video_url": "video"})


def copy(job: Job, request: UpscaleRequest, _model: None) -> Result:
    with job.input(request.video_url) as source, job.output(".mp4") as target:
        Path(target.url).write_bytes(os.pread(source.fd, source.size, 0))
    return Result(video=target.name)


if __name__ == "__main__":
    main("upscale", {"generate": lambda: Lane(request=UpscaleRequest, load=lambda _settings: None, work=copy)})
