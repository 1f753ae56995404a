"""Frame interpolation: what `POST /api/ai/interpo` may contain."""

from fractions import Fraction
from typing import Annotated

from pydantic import Field

from shared.contract.fields import Choice, LocalPath, RequiredUnless
from shared.contract.frame_rate import FrameRate
from shared.contract.request import TaskRequest
from shared.pipeline.work import Work


class InterpoRequest(TaskRequest):
    """Multiply a video's frame rate by `rate`, or bring it to exactly `fps`."""

    video_url: Annotated[str, LocalPath()]
    rate: Annotated[int | None, Choice(2, 4, 6, 8), RequiredUnless("fps")] = None
    # Left out of a stored request where it was not given: the same body has the same fingerprint as before it existed.
    fps: Annotated[
        str,
        FrameRate(1, 240),
        Field(description="in place of rate: the exact frame rate of the result", exclude_if=lambda fps: not fps),
    ] = ""

    @property
    def frame_rate(self) -> Fraction | None:
        """The exact frame rate that is asked for, None where the source's is multiplied."""
        return Fraction(self.fps) if self.fps else None

    def work(self, width: int, height: int, frame_rate: Fraction | None) -> Work:
        """Return what one frame becomes at the same size: `rate` frames, or as many as `fps` makes of one."""
        if self.frame_rate:
            return Work(frames=self.frame_rate / (frame_rate or self.frame_rate), pixels=width * height)
        return Work(frames=self.rate or 1, pixels=width * height)
