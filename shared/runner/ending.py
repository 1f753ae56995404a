"""What an attempt's outcome means for its task: the state that it ends in and what the backend is told."""

import logging
from dataclasses import dataclass
from typing import Any

from shared.contract.messages import Callback
from shared.errors import JobFailed, Problem
from shared.pipeline.job import JobStopped, Result
from shared.runner.cancellation import StopReason
from shared.settings import Settings
from shared.tasks import callbacks
from shared.tasks.rows import TaskRow
from shared.vocabulary import TaskState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """The end of a task as it is about to be stored."""

    state: TaskState
    callback: Callback
    artifact: dict[str, Any] | None = None
    artifact_key: str | None = None


def ending_of(row: TaskRow, outcome: Result | BaseException, reason: StopReason | None, settings: Settings) -> Ending:
    """Return what a pipeline's result or exception amounts to; `reason` says why it was stopped, if it was."""
    match outcome:
        case Result():
            return _success(row, outcome)
        case JobStopped() if reason == "out_of_time":
            problem: Problem = JobFailed("out_of_time", seconds=round(settings.limits.task_timeout_seconds))
        case JobStopped():
            return cancelled(row, settings)
        case Problem():
            problem = outcome
        case MemoryError():
            problem = JobFailed("out_of_memory")
        case _:
            logger.error("task %s failed", row.task_id, exc_info=outcome)
            problem = JobFailed("internal", kind=type(outcome).__name__)
    return Ending("failed", callbacks.failure(row, problem, settings.language))


def cancelled(row: TaskRow, settings: Settings) -> Ending:
    """Return the end of a task that was cancelled, also of one that had succeeded by then."""
    return Ending("cancelled", callbacks.failure(row, JobFailed("cancelled"), settings.language))


def _success(row: TaskRow, result: Result) -> Ending:
    body = Callback(
        task_id=row.task_id,
        preview_image=result.preview,
        reference_images=list(result.references),
        video_url=result.video,
    )
    return Ending("succeeded", body, result.artifact, result.artifact_key or None)
