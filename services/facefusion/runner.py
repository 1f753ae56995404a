"""Face fusion: the runner processes, which own the models. `python -m services.facefusion.runner [--kind preview]`."""

from services.facefusion.request import FaceFusionRequest
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler


def generate() -> TaskHandler:
    from services.facefusion.model import load  # noqa: PLC0415  # the first task pays for its libraries, not the start
    from services.facefusion.pipeline import swap_faces  # noqa: PLC0415

    return TaskHandler(request=FaceFusionRequest, load=load, work=swap_faces, amount=FaceFusionRequest.work)


def preview() -> TaskHandler:
    from services.facefusion.model import load  # noqa: PLC0415  # the first task pays for its libraries, not the start
    from services.facefusion.preview import preview_swap  # noqa: PLC0415

    return TaskHandler(request=FaceFusionRequest, load=load, work=preview_swap)


if __name__ == "__main__":
    main("facefusion", {"generate": generate, "preview": preview})
