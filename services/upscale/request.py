"""Upscaling: what `POST /api/ai/upscale` may contain."""

from fractions import Fraction
from typing import Annotated

from pydantic import Field

from shared.contract.fields import Choice, Integer, LocalPath, RequiredUnless
from shared.contract.request import TaskRequest
from shared.pipeline.work import Work

COMPUTED = 4  # times the width and the height; smaller ratios are averages of that

Side = Integer(2, 16384)  # pixels; more no encoder takes


class UpscaleRequest(TaskRequest):
    """Restore a video and enlarge it `ratio` times, or to exactly `width` and `height`; ratio 1 keeps its size."""

    video_url: Annotated[str, LocalPath()]
    ratio: Annotated[int | None, Choice(1, 2, 3, 4), RequiredUnless("width", "height")] = None
    # Left out of a stored request where it was not given: the same body has the same fingerprint as before it existed.
    width: Annotated[
        int | None,
        Side,
        Field(description="in place of ratio: the width that is shown", exclude_if=lambda side: side is None),
    ] = None
    height: Annotated[
        int | None,
        Side,
        Field(description="in place of ratio: the height that is shown", exclude_if=lambda side: side is None),
    ] = None

    def work(self, width: int, height: int, frame_rate: Fraction | None) -> Work:  # noqa: ARG002  # as others need it
        """Return what one frame becomes: the network makes each four times as wide and high, whatever the ratio."""
        return Work(frames=1, pixels=width * height * COMPUTED * COMPUTED)
