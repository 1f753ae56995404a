"""The messages of the contract: what callers send, what they get back, and what a value means.

A request is a pydantic model whose fields have one field type each: `Integer`, `Number`, `Choice`, `Text`, `LocalPath`.
Its validation either returns a model or raises `Rejected` with one sentence that names the field and the allowed
values, never a pydantic error. A request that is written as JSON and read
again is the same request: the queue depends on it.
"""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
)

from shared.vocabulary import CallbackState, ServiceName, TaskKind, TaskState


class ResponseModel(BaseModel):
    """The base of every answer and callback: every key is always present."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Answer(ResponseModel):
    """The immediate answer of every endpoint: exactly these two keys."""

    model_config = ConfigDict(extra="forbid")

    err_code: Literal[0, -1] = 0
    err_msg: str = ""

    @classmethod
    def refused(cls, sentence: str) -> Self:
        return cls(err_code=-1, err_msg=sentence)


class Callback(ResponseModel):
    """What the backend receives when a task has ended: exactly these six keys."""

    model_config = ConfigDict(extra="forbid")

    task_id: int
    preview_image: str = ""
    reference_images: list[str] = []
    video_url: str = ""
    err_code: Literal[0, -1] = 0
    err_msg: str = ""


class CallbackView(ResponseModel):
    """The state of the delivery of a task's callback."""

    state: CallbackState = "none"
    attempts: int = 0
    next_at: datetime | None = None


class TaskView(ResponseModel):
    """One run of one task, as `GET /api/ai/tasks` shows it; what is not known is null."""

    id: str
    service: ServiceName
    kind: TaskKind = "generate"
    task_id: int
    state: TaskState
    progress: float = 0.0
    queue_position: int | None = None
    eta_seconds: float | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    result: Callback | None = None
    callback: CallbackView = CallbackView()
    details: dict[str, Any] = {}


class TaskList(ResponseModel):
    """Tasks, newest first."""

    tasks: list[TaskView]
