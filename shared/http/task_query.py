"""The query of task lists, and the task_id of a path, read as strictly as a body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from shared.contract.fields import Choice, FieldType, Integer
from shared.contract.json_values import read_whole, shown
from shared.errors import Rejected
from shared.http.responses import NOT_FOUND, HttpProblem
from shared.vocabulary import SERVICES, TASK_KINDS, TASK_STATES, ServiceName, TaskKind, TaskState

_SERVICES: FieldType = Choice(*SERVICES)
_STATES = Choice(*TASK_STATES)
_KINDS = Choice(*TASK_KINDS)
_LIMIT = Integer(1, 500)
DEFAULT_LIMIT = 50


@dataclass(frozen=True)
class TaskQuery:
    """The query of a list or a cancel, read as strictly as a body; unknown parameters are ignored, as in a body."""

    service: ServiceName | None = None
    state: TaskState | None = None
    kind: TaskKind | None = None
    id: str | None = None
    limit: int = DEFAULT_LIMIT

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Read query parameters; an empty one is not given. Raises Rejected."""
        wires = {"service": _SERVICES, "state": _STATES, "kind": _KINDS, "limit": _LIMIT}
        given: dict[str, Any] = {name: wire.read(name, query[name]) for name, wire in wires.items() if query.get(name)}
        return cls(**given, id=_read_id(query["id"]) if query.get("id") else None)


def read_task_id(text: str) -> int:
    """Read the task_id of a path; a text that cannot be one gets the same answer as an unknown task."""
    task_id = read_whole(text)
    if task_id is None or task_id < 1:
        raise unknown(text)
    return task_id


def _read_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise Rejected("id_refused", value=shown(text)) from error


def unknown(task_id: int | str) -> HttpProblem:
    return HttpProblem(NOT_FOUND, "task_unknown", task_id=task_id)
