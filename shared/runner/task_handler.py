"""What a service tells its runners about one kind of task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from shared.contract.request import TaskRequest
from shared.media.media_info import MediaHeader
from shared.pipeline.job import Job, Result
from shared.pipeline.work import Work
from shared.settings import Settings

Check = Callable[[Any, Mapping[str, MediaHeader], Settings], None]


def _no_check(_request: Any, _headers: Mapping[str, MediaHeader], _settings: Settings) -> None:
    """Find nothing wrong."""


@dataclass(frozen=True)
class TaskHandler:
    """What one kind of task needs: its request, its model, and the pipeline that brings them together."""

    request: type[TaskRequest]
    load: Callable[[Settings], Any]  # returns the model, in minutes when its weights are large
    work: Callable[[Job, Any, Any], Result]  # (job, request, model)
    # Of inputs that were fetched, what the HTTP face checks of local ones. `check` raises a Problem for a request whose
    # media (by field) will not do; `amount` is the request's own `work`: what a video of some size becomes.
    check: Check = _no_check
    amount: Callable[[Any, int, int, Fraction | None], Work] | None = None

    def check_fetched(
        self, request: TaskRequest, headers: Mapping[str, MediaHeader], names: Mapping[str, str], settings: Settings
    ) -> dict[str, Any]:
        """Return what the task's details say of fetched inputs, by field with their names; raise a Problem."""
        self.check(request, headers, settings)
        video = next((field for field, header in headers.items() if header.kind == "video"), None)
        if self.amount is None or video is None:
            return {}
        header = headers[video]
        each = self.amount(request, header.width, header.height, header.frame_rate)
        each.check(header.frame_count or 1, name=names[video], limits=settings.limits)
        return {"work": each.estimate(header.frame_count)}


OpenHandler = Callable[[], TaskHandler]  # imports the libraries of a model, which an idle runner does not need
