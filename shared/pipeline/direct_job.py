"""A job without a runner: for the command line, benchmarks and tests."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from shared.files.handles import InputFile, OutputFile
from shared.files.media_roots import MediaRoots
from shared.pipeline.job import M, Outputs, Progress, Q, Result, T, Total
from shared.pipeline.segment_store import Ledger, MemoryLedger, SegmentStore
from shared.settings import Settings


class DirectJob:
    """A job without a queue: for benchmarks, tests of pipelines and single runs from the command line.

    Its inputs may lie anywhere, since it only reads what its caller may read; its results go to `dist_dir`, and
    a run that raised leaves nothing there.
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
        ledger: Ledger | None = None,
        attempt: int = 1,
    ) -> None:
        """`ledger` is that of an earlier attempt at the same task, which has left its segments; the folder keeps them
        until a job without one ends.
        """  # fmt: skip
        self.service = service
        self.kind = kind
        self.task_id = task_id
        self.settings = settings
        self.details: dict[str, Any] = {}
        self.context: dict[str, Any] = context or {}
        self.dist_dir = dist_dir.resolve()
        self._roots = MediaRoots(settings.model_copy(update={"media_roots": (Path("/"),)}))
        self._progress = Progress(on_progress)
        mark = f"{task_id}_{service}_{uuid4().hex[:8] if ledger is None else 'direct'}-"
        folder = partial(self._roots.open_dist_dir, self.dist_dir)
        self._outputs = Outputs(folder, f"{mark}{attempt}")
        self._keeps_segments = ledger is not None
        self.segments = SegmentStore(folder, mark, str(attempt), ledger or MemoryLedger())
        self._scratch: TemporaryDirectory[str] | None = None

    @property
    def workdir(self) -> Path:
        """A scratch folder, made at the first use; removed with the job."""
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

    def aside(self, suffix: str, *, part: str) -> AbstractContextManager[OutputFile]:
        return self._outputs.open(suffix, part, self.check)

    def tell(self, details: Mapping[str, Any]) -> None:
        self.details |= details

    def watch(self, items: Iterable[T], total: Total, *, begin: float = 0.0, end: float = 1.0) -> Iterator[T]:
        return self._progress.watch(items, total, begin=begin, end=end, check=self.check)

    def report(self, progress: float) -> None:
        self._progress.report(progress)

    def inherit(self, progress: float, seconds: float) -> None:
        self._progress.inherit(progress, seconds)

    def check(self) -> None:
        """Do nothing: a direct run is never stopped."""

    def run(self, work: Callable[["DirectJob", Q, M], Result], request: Q, model: M) -> Result:
        """Run a pipeline to its end as the runner does: after an exception no file is left."""
        try:
            return work(self, request, model)
        except BaseException:
            self._outputs.withdraw()
            raise
        finally:
            if self.segments.used and not self._keeps_segments:
                self.segments.remove()
            if self._scratch is not None:
                self._scratch.cleanup()
                self._scratch = None
