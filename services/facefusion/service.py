"""Face fusion: the HTTP face. Validates, accepts, answers; two runners do the work, one of them only previews."""

from typing import TYPE_CHECKING, Any

import bentoml

from services.facefusion.reference_face import resolve_reference
from services.facefusion.request import PREVIEW, FaceFusionRequest
from shared.contract.messages import Answer
from shared.http.bentoml_service import ContractService
from shared.http.deployment_needs import needs_of_a_service
from shared.http.task_routes import TaskRoutes
from shared.process.lifetime import die_with_parent
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.media.media_info import MediaKind
    from shared.serving.acceptance import ValidatedRequest

routes = TaskRoutes("facefusion")


def inputs_of(request: FaceFusionRequest) -> dict[str, "MediaKind"]:
    """Return the inputs that a request uses: its own source only where an entry of `faces` has none.

    Where faces are only restored, there is no source at all.
    """
    if request.only_restores:
        return {"target_file": "picture_or_video"}
    own: dict[str, MediaKind] = {"source_file": "portrait"} if request.uses_its_own_source else {}
    return {**own, "faces.source_file": "portrait", "target_file": "picture_or_video"}


@bentoml.asgi_app(routes.app)
@bentoml.service(
    name="facefusion", workers=1, traffic={"timeout": 30}, service_class=ContractService, **needs_of_a_service()
)
class FaceFusion:
    """Puts one person's face on another's."""

    def __init__(self) -> None:
        # Here and not above: the router, which names this class only to start it, needs no queue and no database.
        from shared.serving.task_service import TaskService  # noqa: PLC0415

        settings = Settings.load()
        self.service = TaskService("facefusion", settings, kinds=("generate", "preview"))
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

    @bentoml.api(route="/api/ai/facefusion")
    async def submit(self, request: FaceFusionRequest, /) -> Answer:
        """Accept a preview of one frame, or the generation of the whole."""

        async def prepare(checked: "ValidatedRequest") -> dict[str, Any]:
            fetched = checked.addresses.get("target_file")
            target = checked.paths["target_file"] if fetched is None else fetched.url
            return await resolve_reference(request, target, self.service.newest_artifact)

        previews = request.programe == PREVIEW
        return await self.service.accept(
            request,
            inputs=inputs_of(request),
            kind="preview" if previews else "generate",
            prepare=prepare,
            work=None if previews else request.work,
        )
