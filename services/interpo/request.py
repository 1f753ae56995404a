"""Frame interpolation: what `POST /api/ai/interpo` may contain."""

from typing import Annotated

from shared.contract.fields import Choice, LocalPath
from shared.contract.request import TaskRequest
from shared.pipeline.work import Work


class InterpoRequest(TaskRequest):
    """Multiply a video's frame rate by `rate`."""

    video_url: Annotated[str, LocalPath()]
    rate: Annotated[int, Choice(2, 4, 6, 8)]

    def work(self, width: int, height: int) -> Work:
        """Return what one frame becomes: `rate` frames at the same size."""
        return Work(frames=self.rate, pixels=width * height)
