"""The upscale service with a runner that only copies: all but the model is real; thousands of tasks a minute.

A ratio of 1 is copied at once; above it, a task takes time but almost no processor time. Served, this is the HTTP face:
`bentoml serve benchmarks.swaps.quick_service:Quick`. Run as a module, it is the runner.
"""

import os
import time
from pathlib import Path

import bentoml

from services.upscale.request import UpscaleRequest
from shared.contract.messages import Answer
from shared.http.bentoml_service import ContractService
from shared.http.task_routes import TaskRoutes
from shared.pipeline.job import Job, Result
from shared.process.lifetime import die_with_parent
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler
from shared.settings import Settings

STEPS, STEP_SECONDS = 20, 0.05  # a second for each ratio above 1

routes = TaskRoutes("upscale")


@bentoml.asgi_app(routes.app)
@bentoml.service(name="quick", workers=1, traffic={"timeout": 30}, service_class=ContractService)
class Quick:
    """Returns videos unchanged."""

    def __init__(self) -> None:
        from shared.serving.task_service import TaskService  # noqa: PLC0415  # as the service does

        settings = Settings.load()
        self.service = TaskService("upscale", settings, runner_module="benchmarks.swaps.quick_service")
        routes.serve(self.service, settings.language)

    @bentoml.on_startup
    async def start(self) -> None:
        die_with_parent(Settings.load().master_pid)
        await self.service.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        await self.service.stop()

    async def __is_ready__(self) -> bool:
        return self.service.ready()

    @bentoml.api(route="/api/ai/upscale")
    async def submit(self, request: UpscaleRequest, /) -> Answer:
        """Accept a video to be copied."""
        return await self.service.accept(request, inputs={"video_url": "video"})


def copy(job: Job, request: UpscaleRequest, _model: None) -> Result:
    steps = ((request.ratio or 1) - 1) * STEPS
    with job.input(request.video_url) as source, job.output(".mp4") as target:
        half = source.size // 2
        Path(target.url).write_bytes(os.pread(source.fd, half, 0))
        for _ in job.watch(range(steps), steps):
            time.sleep(STEP_SECONDS)
        with Path(target.url).open("ab") as rest:
            rest.write(os.pread(source.fd, source.size - half, half))
    return Result(video=target.name)


if __name__ == "__main__":
    main("upscale", {"generate": lambda: TaskHandler(request=UpscaleRequest, load=lambda _settings: None, work=copy)})
