"""One attempt of an accepted task, as its pipeline sees it: the runner's side of the `Job` protocol."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from shared.contract.path_lists import all_named_paths
from shared.files.handles import InputFile, OutputDir, OutputFile
from shared.files.media_roots import MediaRoots
from shared.pipeline.job import Outputs, Progress, Total
from shared.pipeline.segment_store import Ledger, SegmentStore
from shared.runner.cancellation import CancellationToken
from shared.runner.fetched_inputs import FetchedInputs
from shared.runner.result_store import ResultStore
from shared.settings import Settings
from shared.tasks.rows import TaskRow

T = TypeVar("T")


class RunningJob:
    """A claimed row with its folders. `confirm` blocks until the row says whether this attempt may still publish.

    The model's thread writes; the event loop reads `progress`, and the rest when the pipeline has ended or is given up.
    """

    def __init__(
        self,
        row: TaskRow,
        settings: Settings,
        *,
        workdir: Path,
        token: CancellationToken,
        confirm: Callable[[], None],
        ledger: Ledger,
        maker: str,
    ) -> None:
        """`maker` tells files that are not finished apart: the attempt's number, a helper's name."""
        self.service: str = row.service
        self.kind: str = row.kind
        self.task_id = row.task_id
        self.settings = settings
        self.details: dict[str, Any] = dict(row.details)  # what acceptance knew
        self.told: Mapping[str, Any] | None = None  # the details to show meanwhile; another object for each news
        self.context = row.context
        self.workdir = workdir
        self.progress = Progress()
        self._token = token
        self._confirm = confirm
        self._roots = MediaRoots(settings)
        self._request = row.request
        dist_dir: str = row.request["dist_dir"]

        def open_folder() -> OutputDir:
            return self._roots.open_dist_dir(self._roots.dist_dir("dist_dir", dist_dir))

        self.outputs = Outputs(open_folder, f"{row.mark}{maker}")
        self.segments = SegmentStore(open_folder, row.mark, maker, ledger)
        self.fetched = FetchedInputs(row, settings, open_folder)
        self.store = ResultStore(row, settings.store, open_folder)

    def input(self, path: str) -> InputFile:
        if (fetched := self.fetched.open(path)) is not None:
            return fetched
        field = next((name for name, one in all_named_paths(self._request).items() if one == path), "input")
        return self._roots.open_input(self._roots.input(field, path))

    def output(self, suffix: str, *, part: str = "") -> AbstractContextManager[OutputFile]:
        return self.outputs.open(suffix, part, self._may_publish)

    def aside(self, suffix: str, *, part: str) -> AbstractContextManager[OutputFile]:
        # Without asking the row: such a file must not keep a run waiting for a storage that is away.
        return self.outputs.open(suffix, part, self.check)

    def tell(self, details: Mapping[str, Any]) -> None:
        self.details |= details
        self.told = dict(self.details)

    def watch(self, items: Iterable[T], total: Total, *, begin: float = 0.0, end: float = 1.0) -> Iterator[T]:
        return self.progress.watch(items, total, begin=begin, end=end, check=self.check)

    def report(self, progress: float) -> None:
        self.progress.report(progress)

    def inherit(self, progress: float, seconds: float) -> None:
        self.progress.inherit(progress, seconds)

    def check(self) -> None:
        self._token.check()

    def _may_publish(self) -> None:
        self.check()
        self._confirm()
        self.check()
