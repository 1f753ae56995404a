"""Upscaling: what `POST /api/ai/upscale` may contain."""

from typing import Annotated

from shared.contract.fields import Choice, LocalPath
from shared.contract.request import TaskRequest


class UpscaleRequest(TaskRequest):
    """Restore a video and enlarge it `ratio` times; 1 restores it at its own size."""

    video_url: Annotated[str, LocalPath()]
    ratio: Annotated[int, Choice(1, 2, 3, 4)]
