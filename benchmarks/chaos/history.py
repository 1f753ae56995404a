"""What happened during a chaos run, recorded by witnesses outside the code under test.

The answers were read by the client, the deliveries by the receiver, the transitions by a trigger in the database, the
writers by looking at the descriptors of the runner processes, and the files by decoding them at the end.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class Kill:
    """One `kill -9`."""

    at: float  # seconds since the epoch, here and below
    victim: str
    pid: int


@dataclass(frozen=True)
class Accepted:
    """An answer `err_code 0` that the client read in full."""

    at: float
    task_id: int


@dataclass(frozen=True)
class Delivered:
    """A callback as the receiver saw it; `acknowledged` when the receiver said that it need not come again."""

    at: float
    key: str
    acknowledged: bool
    body: dict[str, Any]


@dataclass(frozen=True)
class Transition:
    """A change of a task row's state or attempt, as the database committed it."""

    at: float
    row: str
    lane: str  # what may hold one run at a time: the service and the kind
    task_id: int
    attempt: int
    state: str


@dataclass(frozen=True)
class Writers:
    """The runner processes that held an unpublished result open at one instant, with the results' names."""

    at: float
    holders: dict[str, str]  # pid -> file


@dataclass(frozen=True)
class FinalTask:
    """A task as `GET /api/ai/tasks` shows it after everything settled."""

    task_id: int
    state: str
    attempt: int
    callback: str
    result: dict[str, Any] | None


@dataclass(frozen=True)
class FinalFile:
    """A file found in a `dist_dir` at the end; `whole` when it decodes to the frames and the size it must have."""

    name: str
    whole: bool
    grew: bool  # its size changed after it first appeared under this name


@dataclass
class History:
    """The record of one chaos run."""

    kills: list[Kill] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    writers: list[Writers] = field(default_factory=list)
    tasks: list[FinalTask] = field(default_factory=list)
    files: list[FinalFile] = field(default_factory=list)

    def write(self, target: Path) -> None:
        """Store the record as JSON, for whoever wants to check the checker."""
        target.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")
