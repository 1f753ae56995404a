"""Frame interpolation: the runner process, which owns the model. `python -m services.interpo.runner`."""

from services.interpo.request import InterpoRequest
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler


def generate() -> TaskHandler:
    from services.interpo.model import load  # noqa: PLC0415  # its libraries load with the first task, not at the start
    from services.interpo.pipeline import interpolate_video  # noqa: PLC0415

    return TaskHandler(request=InterpoRequest, load=load, work=interpolate_video, amount=InterpoRequest.work)


if __name__ == "__main__":
    main("interpo", {"generate": generate})
