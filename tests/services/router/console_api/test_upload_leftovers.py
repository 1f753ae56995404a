"""What killed uploads left: all of it is swept, what cannot be reached is looked for again, and nothing piles up."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from services.router.console_api import upload_leftovers
from services.router.console_api.upload_leftovers import UploadLeftovers, part_of
from shared.files.media_roots import MediaRoots
from shared.settings import Settings
from tests.support.small_disk import small_disk


def leftovers(media: Path, state: Path) -> UploadLeftovers:
    return UploadLeftovers(state / "uploads.json", MediaRoots(Settings(media_roots=(media,), state_dir=state)))


def known(state: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((state / "uploads.json").read_text(encoding="utf-8"))
    return found


def killed(media: Path, state: Path, folders: Iterable[Path]) -> list[Path]:
    """Begin an upload in each folder and end none; return their hidden files."""
    uploads = leftovers(media, state)
    parts = [folder / part_of(uploads.begin(folder)) for folder in folders]
    for part in parts:
        part.touch()
    return parts


def test_many_are_swept_at_once(tmp_path: Path, media: Path) -> None:
    killed(media, tmp_path, [media] * 300)
    leftovers(media, tmp_path).sweep()
    assert list(media.iterdir()) == []
    assert known(tmp_path) == {}


def test_what_an_upload_of_this_process_has_begun_is_not_swept(tmp_path: Path, media: Path) -> None:
    uploads = leftovers(media, tmp_path)
    part = media / part_of(uploads.begin(media))
    part.touch()
    uploads.sweep()
    assert part.exists()


def test_a_disk_that_is_away_is_looked_at_again(tmp_path: Path, media: Path) -> None:
    folder = media / "disk"
    folder.mkdir()
    [part] = killed(media, tmp_path, [folder])
    folder.rename(media / "away")
    leftovers(media, tmp_path).sweep()
    (media / "away").rename(folder)
    leftovers(media, tmp_path).sweep()
    assert not part.exists()
    assert known(tmp_path) == {}


@pytest.mark.needs_root
def test_a_full_disk_is_swept(tmp_path: Path, media: Path) -> None:
    with small_disk(media, "size=64k"):
        [part] = killed(media, tmp_path, [media])
        with pytest.raises(OSError, match="No space left"):
            part.write_bytes(bytes(1 << 20))
        leftovers(media, tmp_path).sweep()
        assert list(media.iterdir()) == []


def test_what_never_returns_does_not_pile_up(tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_leftovers, "MOST_LEFT", 3)
    for number in range(10):
        folder = media / f"disk {number}"
        folder.mkdir()
        killed(media, tmp_path, [folder])
        folder.rename(tmp_path / f"away {number}")
        leftovers(media, tmp_path).sweep()
    assert [Path(folder).name for folder in known(tmp_path).values()] == ["disk 7", "disk 8", "disk 9"]
