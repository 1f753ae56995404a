"""Accepted work as a pipeline sees it: its inputs, its outputs, its progress and its stop.

A pipeline knows nothing of HTTP or SQL. It is a function `(job, request, model) -> Result`; whatever happens to it
(a cancel, a time limit, a lost fence) reaches it as an exception from `check`, `watch` or `output`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from shared.files.handles import InputFile, OutputDir, OutputFile, write_problem
from shared.files.media_roots import MediaRoots
from shared.settings import Settings

T = TypeVar("T")
Q = TypeVar("Q")
M = TypeVar("M")


class JobStopped(BaseException):
    """The job must end now: cancelled, out of time, draining or fenced. Not an Exception: no pipeline catches it."""


@dataclass(frozen=True)
class Result:
    """What the callback carries: bare file names inside the task's `dist_dir`."""

    video: str = ""
    preview: str = ""
    references: tuple[str, ...] = ()
    memo: dict[str, Any] | None = None  # kept with the task for later requests, never sent to the backend
    memo_key: str = ""  # under which later requests look it up (`TaskDesk.newest_memo`)


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
        """Scratch space in the state directory; vanishes with the run."""

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


class Progress:
    """How far a run has come: 0-1, never falling. Written by the run's thread, read by any."""

    def __init__(self, on_report: Callable[[float], None] = lambda _value: None) -> None:
        self.value = 0.0
        self._on_report = on_report

    def report(self, progress: float) -> None:
        """Raise the value; a lower one is ignored, one beyond 1 is 1."""
        self.value = max(self.value, min(float(progress), 1.0))
        self._on_report(self.value)

    def watch(
        self, items: Iterable[T], total: int | None, *, begin: float, end: float, check: Callable[[], None]
    ) -> Iterator[T]:
        """Pass items on and count them; without a total only the end is known."""
        check()
        for count, item in enumerate(items, start=1):
            yield item
            if total:
                self.report(begin + (end - begin) * min(count / total, 1.0))
            check()
        self.report(end)


class Outputs:
    """The files that one attempt of a run puts into its `dist_dir`, all of which it can take back."""

    def __init__(self, open_folder: Callable[[], OutputDir], stem: str) -> None:
        self._open_folder = open_folder
        self._stem = stem
        self._published = False

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
            self._published = True
            target.publish()

    def withdraw(self) -> None:
        """Remove what was published."""
        if self._published:
            self.sweep()

    def sweep(self) -> None:
        """Remove everything that bears this attempt's name, part files too."""
        with self._open_folder() as folder:
            folder.sweep(self._stem)


class DirectJob:
    """A job without a queue: for benchmarks, tests of pipelines and single runs from the command line.

    Its inputs may lie anywhere, since whoever starts it may read what it reads; its results go to `dist_dir`, and
    nothing of a run that raised stays there.
    """

    kind: str

    def __init__(
        self,
        dist_dir: Path,
        settings: Settings,
        *,
        service: str = "direct",
        kind: str = "generate",
        task_id: int = 1,
        context: dict[str, Any] | None = None,
        on_progress: Callable[[float], None] = lambda _progress: None,
    ) -> None:
        self.service = service
        self.kind = kind
        self.task_id = task_id
        self.settings = settings
        self.details: dict[str, Any] = {}
        self.context: dict[str, Any] = context or {}
        self.dist_dir = dist_dir.resolve()
        self._roots = MediaRoots(settings.model_copy(update={"media_roots": (Path("/"),)}))
        self._progress = Progress(on_progress)
        stem = f"{task_id}_{service}_{uuid4().hex[:8]}-1"
        self._outputs = Outputs(lambda: self._roots.open_dist_dir(self.dist_dir), stem)
        self._scratch: TemporaryDirectory[str] | None = None

    @property
    def workdir(self) -> Path:
        """A scratch folder, made at the first use; vanishes with the job."""
        if self._scratch is None:
            self._scratch = TemporaryDirectory(prefix="kinora-")
        return Path(self._scratch.name)

    @property
    def progress(self) -> float:
        return self._progress.value

    def input(self, path: str) -> InputFile:
        return self._roots.open_input(self._roots.input("input", str(Path(path).resolve())))

    def output(self, suffix: str, *, part: str = "") -> AbstractContextManager[OutputFile]:
        return self._outputs.open(suffix, part, self.check)

    def watch(self, items: Iterable[T], total: int | None, *, begin: float = 0.0, end: float = 1.0) -> Iterator[T]:
        return self._progress.watch(items, total, begin=begin, end=end, check=self.check)

    def report(self, progress: float) -> None:
        self._progress.report(progress)

    def check(self) -> None:
        """Do nothing: a direct run is never stopped."""

    def run(self, work: Callable[["DirectJob", Q, M], Result], request: Q, model: M) -> Result:
        """Run a pipeline to its end as the runner does: after an exception nothing stays behind."""
        try:
            return work(self, request, model)
        except BaseException:
            self._outputs.withdraw()
            raise
        finally:
            if self._scratch is not None:
                self._scratch.cleanup()
                self._scratch = None
