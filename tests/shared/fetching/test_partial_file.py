"""A file that is being fetched, from attempt to attempt."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import JobFailed
from shared.fetching.partial_file import PartialFile, fetched_name, open_fetched
from shared.files.handles import OutputDir

MARK = "7_upscale_0badcafe-"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputDir]:
    with OutputDir(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), tmp_path) as folder:
        yield folder


def names(folder: OutputDir) -> list[str]:
    return [path.name for path in folder.path.iterdir()]


def opened(folder: OutputDir, attempt: int = 1, sync_bytes: int = 4) -> PartialFile:
    return PartialFile.open(folder, MARK, "video_url", str(attempt), sync_bytes=sync_bytes)


def test_a_finished_file_is_hidden_and_found_by_every_attempt(folder: OutputDir) -> None:
    part = opened(folder)
    part.restart('"v1"')
    part.write(b"whole")
    part.finish()
    part.close()
    assert names(folder) == [fetched_name(MARK, "video_url")]
    with open_fetched(folder, MARK, "video_url") as file:
        assert os.pread(file.fd, 10, 0) == b"whole"


def test_the_next_attempt_goes_on_after_what_is_safe_on_the_disk(folder: OutputDir) -> None:
    first = opened(folder)
    first.restart('"v1"')
    first.write(b"12345")  # synced: more than four
    first.write(b"67")  # not synced yet
    first.close()
    second = opened(folder, 2)
    assert (second.size, second.validator) == (5, '"v1"')
    second.write(b"abc")
    second.finish()
    second.close()
    with open_fetched(folder, MARK, "video_url") as file:
        assert os.pread(file.fd, 20, 0) == b"12345abc"
    assert folder.sweep(f"{MARK}in-") == [fetched_name(MARK, "video_url")]
    assert names(folder) == []


def test_a_file_without_a_version_begins_anew(folder: OutputDir) -> None:
    first = opened(folder)
    first.restart("")
    first.write(b"12345")
    first.close()
    assert opened(folder, 2).size == 0


@pytest.mark.parametrize("note", ["", "{", "[]", '{"bytes": 5}', '{"bytes": 99, "version": "v"}', "null"])
def test_a_torn_note_means_that_nothing_is_safe(folder: OutputDir, note: str) -> None:
    first = opened(folder)
    first.restart('"v1"')
    first.write(b"12345")
    first.close()
    [name] = [name for name in names(folder) if name.endswith(".note")]
    (folder.path / name).write_text(note)
    assert opened(folder, 2).size == 0


def test_a_file_that_somebody_still_writes_is_left_to_him(folder: OutputDir) -> None:
    first = opened(folder)
    first.restart('"v1"')
    first.write(b"12345")
    second = opened(folder, 2)
    assert second.size == 0
    second.restart('"v2"')
    second.write(b"other")
    second.finish()
    first.write(b"67")  # harms nobody
    with open_fetched(folder, MARK, "video_url") as file:
        assert os.pread(file.fd, 20, 0) == b"other"
    first.close()
    second.close()


def test_another_tasks_and_another_fields_files_are_not_taken(folder: OutputDir) -> None:
    first = PartialFile.open(folder, MARK, "video_url_2", "1", sync_bytes=1)
    first.restart('"v1"')
    first.write(b"12345")
    first.close()
    assert opened(folder, 2).size == 0
    assert PartialFile.open(folder, "17_upscale_0badcafe-", "video_url_2", "1").size == 0


def test_a_link_in_its_place_is_not_followed(folder: OutputDir, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f"{fetched_name(MARK, 'video_url')}.0.part").symlink_to(victim)
    part = opened(folder)
    part.restart('"v1"')
    part.write(b"x" * 20)
    part.close()
    assert victim.read_bytes() == b"precious"


def test_a_closed_file_takes_no_more(folder: OutputDir) -> None:
    part = opened(folder)
    part.close()
    with pytest.raises(JobFailed):
        part.write(b"late")
