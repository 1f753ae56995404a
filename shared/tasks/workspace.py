"""Where a run works: its scratch folder in the state directory, its files in `dist_dir`, and space for both."""

import logging
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from shared.errors import JobFailed, Problem
from shared.fetching.partial_file import INPUTS
from shared.files.media_roots import MediaRoots
from shared.media.media_info import MediaHeader
from shared.pipeline.segment_store import SEGMENTS
from shared.settings import Settings
from shared.tasks.rows import TaskRow

STALE_SECONDS = 600.0  # a scratch folder older than this is not one that is being created
RESERVE_BYTES = 256 << 20  # what a task may need at least, and the machine must keep
_LOGGED_NAMES = 10  # of many segments

logger = logging.getLogger(__name__)


class Workspace:
    """The folders of task runs on this machine."""

    def __init__(self, settings: Settings) -> None:
        self._state_dir = settings.state_dir
        self._work = settings.state_dir / "work"
        self._roots = MediaRoots(settings)

    def folder(self, row: TaskRow) -> Path:
        return self._work / row.id.hex

    def prepare(self, row: TaskRow) -> Path:
        """Return an empty scratch folder, after removing all files of dead attempts of this run but what they kept."""
        self.clear(row, but=(SEGMENTS, INPUTS))
        folder = self.folder(row)
        folder.mkdir(parents=True)
        return folder

    def check_room(self, row: TaskRow) -> None:
        """Raise JobFailed unless there is room where the run writes; Rejected for an output folder that is no more."""
        check_disk_space([self._roots.dist_dir("dist_dir", row.request["dist_dir"]), self._state_dir])

    def clear(self, row: TaskRow, *, but: tuple[str, ...] = ()) -> bool:
        """Remove the files of a run without a result: scratch, part files, published files that no callback names.

        Segments and fetched inputs are removed as well, unless `but` names them. False where the output folder refused.
        """
        shutil.rmtree(self.folder(row), ignore_errors=True)
        return self._sweep(row, row.mark, but=but)

    def remove_segments(self, row: TaskRow) -> bool:
        """Remove the segments of a task that has ended; False where that failed."""
        return self._sweep(row, f"{row.mark}{SEGMENTS}")

    def remove_inputs(self, row: TaskRow) -> bool:
        """Remove what was fetched for a task that has ended; False where that failed."""
        return self._sweep(row, f"{row.mark}{INPUTS}")

    def _sweep(self, row: TaskRow, prefix: str, *, but: tuple[str, ...] = ()) -> bool:
        """Remove hidden and published files from the output folder; False, and a line in the log, where that failed."""
        try:
            dist_dir = self._roots.dist_dir("dist_dir", row.request["dist_dir"])
            with self._roots.open_dist_dir(dist_dir) as folder:
                swept = folder.sweep(prefix, but=but)
        except (Problem, OSError) as problem:
            logger.warning("could not clear the output folder of task %s: %s", row.task_id, problem)
            return False
        if swept:
            logger.info("removed leftovers of task %s: %s", row.task_id, ", ".join(swept[:_LOGGED_NAMES]))
        return True

    def stale(self) -> dict[UUID, Path]:
        """Return the old scratch folders on this machine by the run that they belong to; new ones may be in use."""
        youngest = time.time() - STALE_SECONDS
        found = {}
        for path in self._work.glob("?" * 32):
            with suppress(OSError, ValueError):  # gone meanwhile, or not ours
                if path.stat().st_mtime < youngest:
                    found[UUID(hex=path.name)] = path
        return found

    def remove_scratch(self, row: TaskRow) -> None:
        """Remove the scratch folder alone."""
        shutil.rmtree(self.folder(row), ignore_errors=True)


def check_disk_space(folders: Iterable[Path], need_bytes: int = 0) -> None:
    """Raise JobFailed unless every folder's file system has `need_bytes` and the reserve free."""
    need = RESERVE_BYTES + need_bytes
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if (free := shutil.disk_usage(existing).free) < need:
            raise JobFailed("disk_full", folder=folder.name, free=free >> 20, need=-(-need >> 20))


def is_long(header: MediaHeader, segment_seconds: float) -> bool:
    """Whether a video may be made in segments, which lie beside the result until it is complete."""
    return header.kind == "video" and header.duration_seconds > segment_seconds


def room_for_segments(size: int, header: MediaHeader, segment_seconds: float) -> int:
    """Return how many bytes an input of `size` needs if it is made in segments: its result, they, and one more."""
    if not is_long(header, segment_seconds):
        return 0
    return round(size * (2 + segment_seconds / header.duration_seconds))
