"""What happened during a chaos run, recorded from outside the code under test.

The client recorded the answers, the receiver the deliveries, a trigger in the database the transitions; the writers are
found by reading the open descriptors of the runner processes, and the files are decoded at the end.
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
    """A callback as the receiver saw it; `acknowledged` if the receiver told the sender not to repeat it."""

    at: float
    key: str
    acknowledged: bool
    body: dict[str, Any]


@dataclass(frozen=True)
class Transition:
    """A change of a task row's state or attempt, as the database committed it."""

    at: float
    row: str
    slot: str  # which runs one task at a time; there is one for each service and kind
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
    """A task as `GET /api/ai/tasks` shows it after every task has ended."""

    task_id: int
    state: str
    attempt: int
    callback: str
    result: dict[str, Any] | None
    repeated_segments: int = 0


@dataclass(frozen=True)
class FinalFile:
    """A file found in a `dist_dir` at the end; `whole` if it decodes to the frames and the size it must have."""

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
        """Store the record as JSON, so that the checker itself can be checked."""
        target.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")
