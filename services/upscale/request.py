"""Upscaling: what `POST /api/ai/upscale` may contain."""

from typing import Annotated

from shared.contract.fields import Choice, LocalPath
from shared.contract.request import TaskRequest
from shared.pipeline.work import Work

COMPUTED = 4  # times the width and the height; smaller ratios are averages of that


class UpscaleRequest(TaskRequest):
    """Restore a video and enlarge it `ratio` times; 1 restores it at its own size."""

    video_url: Annotated[str, LocalPath()]
    ratio: Annotated[int, Choice(1, 2, 3, 4)]

    def work(self, width: int, height: int) -> Work:
        """Return what one frame becomes: the network makes each four times as wide and high, whatever the ratio."""
        return Work(frames=1, pixels=width * height * COMPUTED * COMPUTED)
