"""Upscaling: the runner process, which owns the model. `python -m services.upscale.runner`."""

from services.upscale.request import UpscaleRequest
from shared.runner.process import main
from shared.runner.task_handler import TaskHandler


def generate() -> TaskHandler:
    from services.upscale.model import load  # noqa: PLC0415  # its libraries load with the first task, not at the start
    from services.upscale.pipeline import upscale_video  # noqa: PLC0415

    return TaskHandler(request=UpscaleRequest, load=load, work=upscale_video, amount=UpscaleRequest.work)


if __name__ == "__main__":
    main("upscale", {"generate": generate})
