"""A job as a pipeline sees it: its inputs, its outputs, its progress and its stop.

A pipeline uses neither HTTP nor SQL. It is a function `(job, request, model) -> Result`; a cancel, a time limit or a
lost fence reaches it as an exception from `check`, `watch` or `output`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from shared.errors import JobFailed
from shared.files.handles import InputFile, OutputDir, OutputFile, write_problem
from shared.pipeline.segment_store import SegmentStore
from shared.settings import Settings

T = TypeVar("T")
Q = TypeVar("Q")
M = TypeVar("M")

# How many items there will be, or a function from how many have come to the share of the whole, 0-1; None: unknown.
Total = int | Callable[[int], float] | None


class JobStopped(BaseException):
    """The job must end now: cancelled, out of time, draining or fenced. Not an Exception: no pipeline catches it."""


class SegmentMade(JobStopped):
    """A helper has made the segment that it was here for; the rest of the pipeline is not its own."""


@dataclass(frozen=True)
class Result:
    """What the callback contains: bare file names inside the task's `dist_dir`."""

    video: str = ""
    preview: str = ""
    references: tuple[str, ...] = ()
    artifact: dict[str, Any] | None = None  # kept with the task for later requests, never sent to the backend
    artifact_key: str = ""  # under which later requests look it up (`TaskService.newest_artifact`)


class Job(Protocol):
    """One run of one accepted task."""

    service: str
    kind: str  # "generate" or "preview"
    task_id: int
    settings: Settings
    details: dict[str, Any]  # shown in the task list: engine, model, seed used, ignored fields, what was lost
    context: dict[str, Any]  # what acceptance stored beside the request (face fusion's reference)

    @property
    def workdir(self) -> Path:
        """Scratch space in the state directory; removed with the run."""

    @property
    def segments(self) -> SegmentStore:
        """The finished parts of a long result, which outlive the run until the task ends."""

    def input(self, path: str) -> AbstractContextManager[InputFile]:
        """Open an accepted input again, checked on the opened descriptor."""

    def output(self, suffix: str, *, part: str = "") -> AbstractContextManager[OutputFile]:
        """Yield a hidden file in `dist_dir`; on a clean exit it is synced and published under its bare `name`.

        `suffix` is such as ".mp4"; `part` tells several outputs of one run apart ("face0"). After an exception, and
        when the run fails later, no file is left.
        """

    def aside(self, suffix: str, *, part: str) -> AbstractContextManager[OutputFile]:
        """As `output`, for a file that no callback names: published before the run ends, whatever becomes of it."""

    def tell(self, details: Mapping[str, Any]) -> None:
        """Add details that are shown while the run goes on; those of `details` are shown at its end."""

    def watch(self, items: Iterable[T], total: Total, *, begin: float = 0.0, end: float = 1.0) -> Iterator[T]:
        """Yield `items`, report progress from `begin` to `end` by their count, and stop when the job must."""

    def report(self, progress: float) -> None:
        """Set the progress, 0-1; a value below an earlier one is ignored."""

    def inherit(self, progress: float, seconds: float) -> None:
        """Take over what earlier attempts have done: the progress with which this one begins, and their time."""

    def check(self) -> None:
        """Raise JobStopped when the run must end; cheap enough for every step of an inner loop."""


class Progress:
    """A run's progress: 0-1, never falling. Written by the run's thread, read by any."""

    def __init__(self, on_report: Callable[[float], None] = lambda _value: None) -> None:
        self.value = 0.0
        self.inherited = 0.0
        self.inherited_seconds = 0.0
        self._on_report = on_report

    def report(self, progress: float) -> None:
        """Raise the value; a lower one is ignored, one beyond 1 is 1."""
        self.value = max(self.value, min(float(progress), 1.0))
        self._on_report(self.value)

    @property
    def pace(self) -> float:
        """How much this run has done itself of what was left to it, 0-1."""
        return (self.value - self.inherited) / (1 - self.inherited) if self.inherited < 1 else 0.0

    def inherit(self, progress: float, seconds: float) -> None:
        """Begin where earlier runs stopped, which have worked for so long."""
        self.inherited, self.inherited_seconds = progress, seconds
        self.report(progress)

    def watch(
        self, items: Iterable[T], total: Total, *, begin: float, end: float, check: Callable[[], None]
    ) -> Iterator[T]:
        """Yield the items and count them; without a total only the end changes the progress."""
        check()
        for count, item in enumerate(items, start=1):
            yield item
            if total:
                share = total(count) if callable(total) else count / total
                self.report(begin + (end - begin) * min(share, 1.0))
            check()
        self.report(end)


class Outputs:
    """The files that one attempt of a run writes into its `dist_dir`; it can remove all of them again."""

    def __init__(self, open_folder: Callable[[], OutputDir], stem: str) -> None:
        self._open_folder = open_folder
        self._stem = stem
        self._published = False  # written by the run's thread, read by others only when that run has ended

    @contextmanager
    def open(self, suffix: str, part: str, may_publish: Callable[[], None]) -> Iterator[OutputFile]:
        """Yield a hidden file; publish it at a clean exit if `may_publish` does not raise, else discard it."""
        stem = f"{self._stem}_{part}" if part else self._stem
        with self._open_folder() as folder:
            try:
                target = folder.create(stem, suffix)
            except OSError as error:
                raise write_problem(error, f"{stem}{suffix}") from error
        with target:
            yield target
            may_publish()
            self._check_place(target)
            self._published = True
            target.publish()

    def _check_place(self, target: OutputFile) -> None:
        """Raise JobFailed when the folder was moved, replaced or removed meanwhile: nobody would find the file there.

        It is held open, so that no other folder can have got its number, on network file systems neither.
        """
        with self._open_folder() as folder:
            if not target.lies_in(folder):
                raise JobFailed("folder_replaced", name=folder.path.name)

    def withdraw(self) -> None:
        """Remove what was published."""
        if self._published:
            self.sweep()

    def sweep(self) -> None:
        """Remove every file with this attempt's name, part files too."""
        with self._open_folder() as folder:
            folder.sweep(self._stem)
