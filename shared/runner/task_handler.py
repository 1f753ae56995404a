"""What a service tells its runners about one kind of task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.contract.request import TaskRequest
from shared.pipeline.job import Job, Result
from shared.settings import Settings


@dataclass(frozen=True)
class TaskHandler:
    """What one kind of task needs: its request, its model, and the pipeline that brings them together."""

    request: type[TaskRequest]
    load: Callable[[Settings], Any]  # returns the model, in minutes when its weights are large
    work: Callable[[Job, Any, Any], Result]  # (job, request, model)


OpenHandler = Callable[[], TaskHandler]  # imports the libraries of a model, which an idle runner does not need
