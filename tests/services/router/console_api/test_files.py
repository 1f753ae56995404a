"""The media roots in a browser: what is listed and found, and what never is."""

import os
import socket
from pathlib import Path

import pytest

from shared.files import listing
from tests.support.console import Console
from tests.support.fake_upstream import refused


def names(answer: object) -> list[str]:
    return [entry["name"] for entry in answer.json()["entries"]]  # type: ignore[attr-defined]


def test_without_a_folder_the_roots_are_shown(files: Console, media: Path) -> None:
    found = files.get("files").json()
    [root] = found["roots"]
    assert (root["path"], root["name"], root["writable"]) == (str(media), "media", True)
    assert 0 < root["free_bytes"] <= root["total_bytes"]
    assert found["upload_limit_bytes"] == 8192 << 20


def test_a_folder_shows_folders_first_then_files_by_name_with_their_kind(files: Console, media: Path) -> None:
    for name in ("b.MP4", "A.jpg", "c.txt", "片 😀.mov", 'q"<b>.png', "שלום.webm"):
        (media / name).write_bytes(b"12345")
    (media / "z").mkdir()
    found = files.get("files", folder=media).json()
    assert (found["folder"], found["parent"], found["next"], found["truncated"]) == (str(media), None, None, False)
    kinds = [(entry["name"], entry["kind"]) for entry in found["entries"]]
    assert kinds == [
        ("z", "folder"), ("A.jpg", "picture"), ("b.MP4", "video"), ("c.txt", "other"), ('q"<b>.png', "picture"),
        ("שלום.webm", "video"), ("片 😀.mov", "video"),
    ]  # fmt: skip
    entry = found["entries"][1]
    assert (entry["path"], entry["bytes"]) == (str(media / "A.jpg"), 5)
    assert entry["modified"].endswith("Z")
    assert files.get("files", folder=media / "z").json()["parent"] == str(media)


def test_a_large_folder_comes_in_pages_that_miss_nothing(files: Console, media: Path) -> None:
    wanted = {f"{number:03}.mp4" for number in range(25)} | {f"d{number}" for number in range(5)}
    for name in wanted:
        (media / name).write_bytes(b"") if name.endswith("mp4") else (media / name).mkdir()
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = files.get("files", folder=media, limit=7, after=after).json()
        assert len(page["entries"]) <= 7
        seen += [entry["name"] for entry in page["entries"]]
        after = page["next"]
    assert sorted(seen) == sorted(wanted)
    assert len(seen) == len(set(seen))


def test_what_is_hidden_leads_out_or_is_no_file_is_not_shown(files: Console, media: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.mkdir()
    (outside / "a.mp4").write_bytes(b"secret")
    (media / ".hidden.mp4").write_bytes(b"")
    (media / "out").symlink_to(outside)
    (media / "out.mp4").symlink_to(outside / "a.mp4")
    (media / "gone.mp4").symlink_to(media / "nothing.mp4")
    (media / "loop.mp4").symlink_to(media / "loop.mp4")
    os.mkfifo(media / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(media / "s.mp4"))
        (media / "in.mp4").write_bytes(b"")
        (media / "link.mp4").symlink_to(media / "in.mp4")
        os.close(os.open(os.fsencode(media) + b"/\xff.mp4", os.O_CREAT))
        assert names(files.get("files", folder=media)) == ["in.mp4", "link.mp4"]
        assert names(files.get("files", q="mp4")) == ["in.mp4", "link.mp4"]


@pytest.mark.parametrize("folder", ["/etc", "/", "relative", "http://h/x", "/no/such", "{media}/..", "{media}/a.mp4"])
def test_no_folder_outside_the_roots_is_shown_and_none_that_is_not_there(
    files: Console, media: Path, folder: str
) -> None:
    (media / "a.mp4").write_bytes(b"")
    refused(files.get("files", folder=folder.format(media=media)), 404)


def test_a_folder_whose_link_was_swapped_leads_nowhere(files: Console, media: Path) -> None:
    (media / "x").symlink_to("/etc")
    refused(files.get("files", folder=media / "x"), 404)
    refused(files.get("media", path=media / "x" / "passwd"), 404)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"limit": "x"}, {"q": "x" * 201}, {"q": "a\0b"}])
def test_a_wrong_parameter_is_one_sentence(files: Console, media: Path, query: dict[str, object]) -> None:
    refused(files.get("files", folder=media, **query), 400)


def test_a_search_looks_downwards_in_any_case(files: Console, media: Path) -> None:
    (media / "Deep" / "er").mkdir(parents=True)
    (media / "Deep" / "er" / "Cat.mp4").write_bytes(b"")
    (media / "cat").mkdir()
    (media / "dog.mp4").write_bytes(b"")
    found = files.get("files", q="CAT").json()
    assert [entry["path"] for entry in found["entries"]] == [str(media / "cat"), str(media / "Deep/er/Cat.mp4")]
    assert not found["truncated"]
    assert names(files.get("files", folder=media / "Deep", q="cat")) == ["Cat.mp4"]
    refused(files.get("files", folder="/etc", q="passwd"), 404)


def test_a_search_ends(files: Console, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (media / f"{number}.mp4").write_bytes(b"")
    (media / "again").symlink_to(media)  # a circle
    assert len(names(files.get("files", q=".mp4"))) == 30
    assert files.get("files", q=".mp4", limit=10).json()["truncated"]
    monkeypatch.setattr(listing, "SEARCHED_NAMES", 20)
    found = files.get("files", q=".mp4").json()
    assert found["truncated"]
    assert len(found["entries"]) <= 20
