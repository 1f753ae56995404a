"""Words in a file: they outlive the mapping, and a bad file is no obstacle."""

import resource
from pathlib import Path

import pytest

from shared.files.remembered import Remembered


def test_what_is_set_is_there_for_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "state" / "words.json"
    words = Remembered(path)
    words["a"], words["b"] = "1", "2"
    del words["a"]
    assert dict(Remembered(path)) == {"b": "2"}
    assert len(words) == 1
    assert [file.name for file in path.parent.iterdir()] == ["words.json"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"n": 3}'])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(content, encoding="utf-8")
    words = Remembered(path)
    assert dict(words) == {}
    words["a"] = "1"
    assert dict(Remembered(path)) == {"a": "1"}


def test_a_place_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    words = Remembered(tmp_path / "file" / "words.json")
    words["a"] = "1"
    assert words["a"] == "1"


def test_a_full_disk_keeps_what_was_there_and_nothing_piles_up(tmp_path: Path) -> None:
    """A file that may grow no further fails as one on a full disk does."""
    path = tmp_path / "words.json"
    words = Remembered(path)
    words["a"] = "1"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        for number in range(20):
            words[f"a long word {number}"] = "x"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert dict(Remembered(path)) == {"a": "1"}
    assert [file.name for file in tmp_path.iterdir()] == ["words.json"]
