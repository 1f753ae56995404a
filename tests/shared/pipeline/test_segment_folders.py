"""Long videos whose `dist_dir` is taken away, replaced or closed to writing between two segments."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import JobFailed, Problem
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.settings import Settings
from tests.support.clips import clip
from tests.support.segmented_work import SETTINGS, Attempts, Model, contents


class Meddled(Model):
    """Runs `meddle` once, before a picture that begins a segment."""

    at = 20
    meddle: Callable[[], object] | None = None

    def __call__(self, frames: FrameRange, tally: "Counter[str]") -> Iterator[Frame]:
        if self.made == self.at and self.meddle:
            self.meddle()
            self.meddle = None
        return super().__call__(frames, tally)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return clip(tmp_path / "film.mp4", seconds=2, rate="25")


def meddled(meddle: Callable[[], object], *, at: int = 20) -> Meddled:
    model = Meddled()
    model.meddle, model.at = meddle, at
    return model


def remove(folder: Path) -> None:
    """Remove a folder although another thread is giving names to files in it."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def test_a_folder_that_is_removed_ends_the_attempt_and_a_later_one_has_the_whole_result(
    tmp_path: Path, source: Path
) -> None:
    expected, _ = Attempts(source, tmp_path / "undisturbed", SETTINGS).make(Model())
    attempts = Attempts(source, tmp_path / "out")
    # Where it is noticed depends on how far the encoder's thread is.
    with pytest.raises(JobFailed, match=r"could not be written|the folder out was moved, replaced or removed"):
        attempts.make(meddled(lambda: remove(attempts.folder)))
    assert attempts.visible() == []
    result, _ = attempts.make(Model())
    assert contents(result) == contents(expected)


def test_a_folder_that_was_moved_away_gets_no_result_that_nobody_would_find(tmp_path: Path, source: Path) -> None:
    attempts, away = Attempts(source, tmp_path / "out"), tmp_path / "away"
    with pytest.raises(JobFailed, match="the folder out was moved, replaced or removed"):
        attempts.make(meddled(lambda: attempts.folder.rename(away)))
    assert visible(away) == attempts.visible() == []


def test_a_short_video_has_no_result_in_a_folder_that_was_moved_away_either(tmp_path: Path, source: Path) -> None:
    attempts, away = Attempts(source, tmp_path / "out", Settings(device="cpu")), tmp_path / "away"
    with pytest.raises(JobFailed, match="the folder out was moved, replaced or removed"):
        attempts.make(meddled(lambda: attempts.folder.rename(away), at=0))
    assert visible(away) == attempts.visible() == []


def test_a_folder_that_becomes_a_link_ends_the_task_and_nothing_is_written_behind_it(
    tmp_path: Path, source: Path
) -> None:
    attempts, elsewhere = Attempts(source, tmp_path / "out"), tmp_path / "elsewhere"
    elsewhere.mkdir()

    def swap() -> None:
        attempts.folder.rename(tmp_path / "away")
        attempts.folder.symlink_to(elsewhere)

    with pytest.raises(Problem):
        attempts.make(meddled(swap))
    assert visible(tmp_path / "away") == visible(elsewhere) == []


@pytest.mark.needs_root
def test_a_folder_that_becomes_read_only_ends_the_task_with_its_reason(tmp_path: Path, source: Path) -> None:
    """As when a share is mounted again without the right to write."""
    attempts = Attempts(source, tmp_path / "out")
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(attempts.folder)]
    try:
        with pytest.raises(JobFailed, match="Read-only file system"):
            attempts.make(meddled(lambda: subprocess.run(mount, check=True)))
    finally:
        subprocess.run(["umount", "-l", attempts.folder], check=True)
    assert attempts.visible() == []
