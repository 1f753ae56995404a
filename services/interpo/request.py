"""Frame interpolation: what `POST /api/ai/interpo` may contain."""

from typing import Annotated

from shared.contract.fields import Choice, LocalPath
from shared.contract.request import TaskRequest


class InterpoRequest(TaskRequest):
    """Multiply a video's frame rate by `rate`."""

    video_url: Annotated[str, LocalPath()]
    rate: Annotated[int, Choice(2, 4, 6, 8)]
