"""Video creation: the runner process, which owns the engine. `python -m services.creation.runner`."""

from collections.abc import Mapping

from services.creation.request import CreationRequest
from shared.media.media_info import MediaHeader
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler
from shared.settings import Settings


def generate() -> TaskHandler:
    from services.creation.acceptance import check_paths_inside, check_source  # noqa: PLC0415
    from services.creation.model import load  # noqa: PLC0415  # the first task pays for its libraries, not the start
    from services.creation.pipeline import create_video  # noqa: PLC0415

    def check(request: CreationRequest, headers: Mapping[str, MediaHeader], settings: Settings) -> None:
        check_source(headers, settings)
        check_paths_inside(request, headers)

    return TaskHandler(request=CreationRequest, load=load, work=create_video, check=check, amount=CreationRequest.work)


if __name__ == "__main__":
    main("creation", {"generate": generate})
