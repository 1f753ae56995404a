"""Upscaling: the HTTP face. Validates, accepts, answers; the runner does the work."""

from typing import TYPE_CHECKING, Any

import bentoml

from services.upscale.request import UpscaleRequest
from services.upscale.size import Source, TargetSize
from shared.contract.messages import Answer
from shared.http.bentoml_service import ContractService
from shared.http.deployment_needs import needs_of_a_service
from shared.http.task_routes import TaskRoutes
from shared.process.lifetime import die_with_parent
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.serving.acceptance import ValidatedRequest

routes = TaskRoutes("upscale")


@bentoml.asgi_app(routes.app)
@bentoml.service(
    name="upscale", workers=1, traffic={"timeout": 30}, service_class=ContractService, **needs_of_a_service()
)
class Upscale:
    """Restores videos and enlarges them."""

    def __init__(self) -> None:
        # Here and not above: the router, which names this class only to start it, needs no queue and no database.
        from shared.serving.task_service import TaskService  # noqa: PLC0415

        settings = Settings.load()
        self.service = TaskService("upscale", settings)
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

    @bentoml.api(route="/api/ai/upscale")
    async def submit(self, request: UpscaleRequest, /) -> Answer:
        """Accept a video to be restored and enlarged."""
        return await self.service.accept(
            request, inputs={"video_url": "video"}, prepare=self._prepare, work=request.work
        )

    async def _prepare(self, checked: "ValidatedRequest") -> dict[str, Any]:
        """Refuse a size that is too large for the source; of one that is to be fetched, the pipeline does it."""
        assert isinstance(checked.request, UpscaleRequest)
        header = checked.headers.get("video_url")
        if header is None:
            return {}
        TargetSize.of(checked.request, Source(header.width, header.height, turned=header.rotation % 180 != 0))
        return {}
