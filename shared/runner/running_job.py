"""One attempt of an accepted task, as its pipeline sees it: the runner's side of the `Job` protocol."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, TypeVar

from shared.files.handles import InputFile, OutputFile
from shared.files.media_roots import MediaRoots
from shared.pipeline.job import JobStopped, Outputs, Progress, Total
from shared.settings import Settings
from shared.tasks.rows import TaskRow

T = TypeVar("T")
StopReason = Literal["cancelled", "out_of_time", "draining", "fenced"]


class CancellationToken:
    """Cancelled at most once, from the runner's event loop; the model's thread sees it at its next check.

    `reason` and the time are written before the event is set and never after, and the thread reads them only once it
    has seen the event: it never sees one without the other.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._cancelled_at = 0.0
        self._cancelled = threading.Event()

    def cancel(self, reason: StopReason) -> None:
        """Ask the pipeline to stop; the first reason counts."""
        if not self._cancelled.is_set():
            self.reason = reason
            self._cancelled_at = time.monotonic()
            self._cancelled.set()

    def overdue(self, grace_seconds: float) -> bool:
        """Whether the pipeline has not stopped for so long after it was asked to."""
        return self._cancelled.is_set() and time.monotonic() - self._cancelled_at > grace_seconds

    def check(self) -> None:
        """Raise JobStopped once cancelled."""
        if self._cancelled.is_set():
            raise JobStopped(self.reason)


class RunningJob:
    """A claimed row with its folders. `confirm` blocks until the row says whether this attempt may still publish.

    The model's thread writes; the event loop reads `progress`, and the rest when the pipeline has ended or is given up.
    """

    def __init__(
        self, row: TaskRow, settings: Settings, workdir: Path, token: CancellationToken, confirm: Callable[[], None]
    ) -> None:
        self.service: str = row.service
        self.kind: str = row.kind
        self.task_id = row.task_id
        self.settings = settings
        self.details: dict[str, Any] = dict(row.details)  # what acceptance knew
        self.context = row.context
        self.workdir = workdir
        self.progress = Progress()
        self._token = token
        self._confirm = confirm
        self._roots = MediaRoots(settings)
        self._request = row.request
        dist_dir: str = row.request["dist_dir"]
        self.outputs = Outputs(
            lambda: self._roots.open_dist_dir(self._roots.dist_dir("dist_dir", dist_dir)), f"{row.mark}{row.attempt}"
        )

    def input(self, path: str) -> InputFile:
        field = next((name for name, value in self._request.items() if value == path), "input")
        return self._roots.open_input(self._roots.input(field, path))

    def output(self, suffix: str, *, part: str = "") -> AbstractContextManager[OutputFile]:
        return self.outputs.open(suffix, part, self._may_publish)

    def watch(self, items: Iterable[T], total: Total, *, begin: float = 0.0, end: float = 1.0) -> Iterator[T]:
        return self.progress.watch(items, total, begin=begin, end=end, check=self.check)

    def report(self, progress: float) -> None:
        self.progress.report(progress)

    def check(self) -> None:
        self._token.check()

    def _may_publish(self) -> None:
        self.check()
        self._confirm()
        self.check()
