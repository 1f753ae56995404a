"""Accepted work as a pipeline sees it: its inputs, its outputs, its progress and its stop.

A pipeline knows nothing of HTTP or SQL. It is a function `(job, request, model) -> Result`; whatever happens to it
(a cancel, a time limit, a lost fence) reaches it as an exception from `check`, `watch` or `output`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from shared.paths import InputFile, OutputFile
from shared.settings import Settings

T = TypeVar("T")


class JobStopped(BaseException):
    """The job must end now: cancelled, out of time, draining or fenced. Not an Exception: no pipeline catches it."""


@dataclass(frozen=True)
class Result:
    """What the callback carries: bare file names inside the task's `dist_dir`."""

    video: str = ""
    preview: str = ""
    references: tuple[str, ...] = ()
    memo: dict[str, Any] | None = None  # kept with the task for later requests, never sent to the backend


class Job(Protocol):
    """One run of one accepted task."""

    service: str
    kind: str  # "generate" or "preview"
    task_id: int
    settings: Settings
    details: dict[str, Any]  # shown in the task list: engine, model, seed used, ignored fields, what was lost
    context: dict[str, Any]  # what acceptance stored beside the request (face fusion's reference)
    workdir: Path  # scratch space in the state directory; vanishes with the run

    def input(self, path: str) -> AbstractContextManager[InputFile]:
        """Open an accepted input again, checked on the opened descriptor."""

    def output(self, suffix: str, *, part: str = "") -> AbstractContextManager[OutputFile]:
        """Yield a hidden file in `dist_dir`; on a clean exit it is synced and published under its bare `name`.

        `suffix` is such as ".mp4"; `part` tells several outputs of one run apart ("face0"). After an exception, and
        when the run fails later, nothing stays behind.
        """

    def watch(self, items: Iterable[T], total: int | None, *, begin: float = 0.0, end: float = 1.0) -> Iterator[T]:
        """Pass `items` on, report progress from `begin` to `end` by their count, and stop when the job must."""

    def report(self, progress: float) -> None:
        """Set the progress, 0-1; a value below an earlier one is ignored."""

    def check(self) -> None:
        """Raise JobStopped when the run must end; cheap enough for every step of an inner loop."""


@dataclass
class DirectJob:
    """A job without a queue: for benchmarks, tests of pipelines and single runs from the command line."""

    dist_dir: Path
    settings: Settings
    service: str = "direct"
    kind: str = "generate"
    task_id: int = 1
    details: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    on_progress: Callable[[float], None] = lambda _progress: None
