"""Video creation: the runner process, which owns the engine. `python -m services.creation.runner`."""

from services.creation.request import CreationRequest
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler


def generate() -> TaskHandler:
    from services.creation.model import load  # noqa: PLC0415  # the first task pays for its libraries, not the start
    from services.creation.pipeline import create_video  # noqa: PLC0415

    return TaskHandler(request=CreationRequest, load=load, work=create_video)


if __name__ == "__main__":
    main("creation", {"generate": generate})
