"""A real BentoML service whose one API does what its request says, to test middleware and framework together."""

import asyncio

import bentoml

from services.upscale.request import UpscaleRequest
from shared.contract.messages import Answer
from shared.errors import Busy, Unavailable
from shared.http.bentoml_service import ContractService
from shared.http.task_routes import TaskRoutes
from shared.process.lifetime import die_with_parent

ACCEPT, BUSY, STORAGE_AWAY, CRASH, SLEEP = range(1, 6)  # task_id -> what happens

routes = TaskRoutes("upscale")


@bentoml.asgi_app(routes.app)
@bentoml.service(name="slow", workers=1, traffic={"timeout": 1}, service_class=ContractService)
class Slow:
    """Fails on demand."""

    @bentoml.on_startup
    def start(self) -> None:
        die_with_parent()

    @bentoml.api(route="/api/ai/upscale")
    async def submit(self, request: UpscaleRequest, /) -> Answer:
        """Answer as the task_id asks."""
        if request.task_id == BUSY:
            raise Busy("queue_full", limit=100)
        if request.task_id == STORAGE_AWAY:
            raise Unavailable("not_ready")
        if request.task_id == CRASH:
            raise ZeroDivisionError
        if request.task_id == SLEEP:
            await asyncio.sleep(60)
        return Answer()
