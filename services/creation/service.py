"""Video creation: the HTTP face. Validates, accepts, answers; the runner does the work."""

from typing import TYPE_CHECKING, Any

import bentoml

from services.creation.acceptance import check_paths_inside, check_source, inputs, new_seed, work_of
from services.creation.request import CreationRequest, TrackingRequest
from shared.contract.messages import Answer
from shared.http.bentoml_service import ContractService
from shared.http.deployment_needs import needs_of_a_service
from shared.http.task_routes import TaskRoutes
from shared.process.lifetime import die_with_parent
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.serving.acceptance import ValidatedRequest

routes = TaskRoutes("creation")


@bentoml.asgi_app(routes.app)
@bentoml.service(
    name="creation", workers=1, traffic={"timeout": 30}, service_class=ContractService, **needs_of_a_service()
)
class Creation:
    """Makes clips from texts, pictures and videos."""

    def __init__(self) -> None:
        # Here and not above: the router, which names this class only to start it, needs no queue and no database.
        from shared.serving.task_service import TaskService  # noqa: PLC0415

        self.settings = Settings.load()
        self.service = TaskService("creation", self.settings)
        routes.serve(self.service, self.settings.language)

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

    @bentoml.api(route="/api/ai/creation")
    async def submit(self, request: CreationRequest, /) -> Answer:
        """Accept a clip to be made."""
        return await self._accept(request)

    @bentoml.api(route="/api/ai/tracking_creation")
    async def submit_tracking(self, request: TrackingRequest, /) -> Answer:
        """Accept a picture whose parts shall move along drawn paths."""
        return await self._accept(request.as_creation())

    async def _accept(self, request: CreationRequest) -> Answer:
        media = inputs(request, self.settings)
        work = work_of(request, self.settings)
        return await self.service.accept(request, inputs=media, prepare=self._prepare, work=work)

    async def _prepare(self, checked: "ValidatedRequest") -> dict[str, Any]:
        check_source(checked.headers, self.settings)
        check_paths_inside(checked.request, checked.headers)
        return {"seed": new_seed()}  # drawn once, so that a second attempt makes the same clip
