"""Frame interpolation: the HTTP face. Validates, accepts, answers; the runner does the work."""

import bentoml

from services.interpo.request import InterpoRequest
from shared.contract.messages import Answer
from shared.http.bentoml_service import ContractService
from shared.http.deployment_needs import needs_of_a_service
from shared.http.task_routes import TaskRoutes
from shared.process.lifetime import die_with_parent
from shared.settings import Settings

routes = TaskRoutes("interpo")


@bentoml.asgi_app(routes.app)
@bentoml.service(
    name="interpo", workers=1, traffic={"timeout": 30}, service_class=ContractService, **needs_of_a_service()
)
class Interpo:
    """Multiplies the frame rate of videos."""

    def __init__(self) -> None:
        # Here and not above: the router, which names this class only to start it, needs no queue and no database.
        from shared.serving.task_service import TaskService  # noqa: PLC0415

        settings = Settings.load()
        self.service = TaskService("interpo", settings)
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

    async def __metrics__(self, page: str) -> str:
        return page + await self.service.metrics()

    @bentoml.api(route="/api/ai/interpo")
    async def submit(self, request: InterpoRequest, /) -> Answer:
        """Accept a video whose frame rate is to be multiplied."""
        return await self.service.accept(request, inputs={"video_url": "video"}, work=request.work)
