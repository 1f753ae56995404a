"""A file as a browser reads it: ranges, what it has already, types by content, and what happens in between."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from services.router.console_api import media_file
from services.router.console_api.media_file import Part, Unsatisfiable, read_part
from tests.support.clips import clip, from_pictures, odd_sized, oriented, renamed_text, ruined, ten_bit
from tests.support.console import Console
from tests.support.fake_upstream import refused

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 40


@pytest.fixture
def film(media: Path) -> Path:
    path = media / "film.mp4"
    path.write_bytes(MP4)
    return path


def read(console: Console, path: Path, **headers: str) -> httpx.Response:
    return console.client.get("/api/console/media", params={"path": str(path)}, headers=headers)


def test_a_file_is_read_whole_with_the_type_of_its_content(files: Console, film: Path) -> None:
    answer = read(files, film)
    assert (answer.status_code, answer.content) == (200, MP4)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"].startswith("inline")
    head = files.client.head("/api/console/media", params={"path": str(film)})
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(MP4)))
    assert head.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, Part(0, 99, ranged=False)),
        ("bytes=0-", Part(0, 99, ranged=True)),
        ("bytes=0-0", Part(0, 0, ranged=True)),
        ("bytes=10-19", Part(10, 19, ranged=True)),
        ("bytes=90-500", Part(90, 99, ranged=True)),
        ("bytes=99-", Part(99, 99, ranged=True)),
        ("bytes=-1", Part(99, 99, ranged=True)),
        ("bytes=-500", Part(0, 99, ranged=True)),
        (" bytes = 1 - 2 ", Part(1, 2, ranged=True)),
        ("bytes=0-1,5-6", Part(0, 99, ranged=False)),
        ("bytes=5-1", Part(0, 99, ranged=False)),
        ("bytes=-", Part(0, 99, ranged=False)),
        ("bytes=x-", Part(0, 99, ranged=False)),
        ("bytes=٣-", Part(0, 99, ranged=False)),
        ("items=0-1", Part(0, 99, ranged=False)),
        ("bytes=99999999999999999999999-", Part(0, 99, ranged=False)),
    ],
)
def test_one_range_is_read_and_anything_else_means_all(header: str | None, part: Part) -> None:
    assert read_part(header, 100) == part


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        read_part(header, size)


def test_ranges_on_the_wire(files: Console, film: Path) -> None:
    part = read(files, film, range="bytes=4-11")
    assert (part.status_code, part.content) == (206, b"ftypisom")
    assert part.headers["content-range"] == f"bytes 4-11/{len(MP4)}"
    behind = read(files, film, range=f"bytes={len(MP4)}-")
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(MP4)}")


def test_a_range_counts_only_for_the_content_that_it_names(files: Console, film: Path) -> None:
    first = read(files, film)
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    assert read(files, film, **{"range": "bytes=0-3", "if-range": etag}).status_code == 206
    assert read(files, film, **{"range": "bytes=0-3", "if-range": modified}).status_code == 206
    assert read(files, film, **{"range": "bytes=0-3", "if-range": '"other"'}).status_code == 200
    assert read(files, film, **{"range": "bytes=0-3", "if-range": f"W/{etag}"}).status_code == 200
    film.write_bytes(MP4 + b"more")
    assert read(files, film, **{"range": "bytes=0-3", "if-range": etag}).status_code == 200


def test_what_the_browser_has_is_not_sent_again(files: Console, film: Path) -> None:
    etag = read(files, film).headers["etag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = read(files, film, **{"if-none-match": known})
        assert (answer.status_code, answer.content) == (304, b"")
    assert read(files, film, **{"if-modified-since": "Thu, 01 Jan 2099 00:00:00 GMT"}).status_code == 304
    assert read(files, film, **{"if-modified-since": "yesterday"}).status_code == 200
    again = film.with_name("other.mp4")
    again.write_bytes(MP4)
    again.replace(film)
    assert read(files, film, **{"if-none-match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.mp4", b"<!doctype html><script>alert(1)</script>"),
        ("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'),
        ("page.html", b"<html>"),
        ("letter.pdf", b"%PDF-1.7"),
        ("empty.mp4", b""),
    ],
)
def test_nothing_but_media_is_ever_shown(files: Console, media: Path, name: str, content: bytes) -> None:
    (media / name).write_bytes(content)
    answer = read(files, media / name)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_a_download_has_its_name_whatever_that_is(files: Console, media: Path) -> None:
    name = 'a "q" <b>\\ 片😀%0d%0a.mp4'
    (media / name).write_bytes(MP4)
    answer = files.get("media", path=media / name, download=1)
    said = answer.headers["content-disposition"]
    assert said.startswith("attachment; filename=\"a _q_ <b>_ ___0d_0a.mp4\"; filename*=UTF-8''a%20%22q%22")
    assert "\r" not in said


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "{media}/../../../../../../etc/passwd", "file:///etc/passwd", "{media}/nowhere.mp4", "{media}",
        "film.mp4", "http://h/film.mp4", "C:\\film.mp4", "", "{media}/.hidden.mp4", "{media}/.folder/a.mp4",
        "{media}/link.mp4", "{media}/pipe.mp4",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_roots(files: Console, media: Path, path: str) -> None:
    (media / ".hidden.mp4").write_bytes(MP4)
    (media / ".folder").mkdir()
    (media / ".folder/a.mp4").write_bytes(MP4)
    (media / "link.mp4").symlink_to("/etc/passwd")
    os.mkfifo(media / "pipe.mp4")
    for endpoint in ("media", "thumbnail", "info"):
        answer = files.get(endpoint, path=path.format(media=media))
        assert answer.status_code in {400, 404}
        refused(answer, answer.status_code)


def test_a_file_url_is_read_as_its_path(files: Console, media: Path) -> None:
    (media / "片 1.mp4").write_bytes(MP4)
    assert files.get("media", path=(media / "片 1.mp4").as_uri()).content == MP4


def test_a_file_that_vanishes_is_read_to_its_end_and_one_that_is_cut_closes_the_connection(
    files: Console, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_file, "CHUNK_BYTES", 65536)
    path = media / "long.mp4"
    size = 64 << 20
    changes: list[tuple[Callable[[], None], bool]] = [(path.unlink, False), (lambda: os.truncate(path, 1000), True)]
    for change, fails in changes:
        with path.open("wb") as file:
            file.write(MP4)
            file.truncate(size)
        with files.client.stream("GET", "/api/console/media", params={"path": str(path)}) as answer:
            chunks = answer.iter_raw()
            got = len(next(chunks))
            change()
            if fails:
                with pytest.raises(httpx.RemoteProtocolError):
                    got += sum(map(len, chunks))
            else:
                got += sum(map(len, chunks))
                assert got == size
    assert read(files, path).status_code == 200


def test_who_leaves_in_the_middle_keeps_no_file_open(files: Console, media: Path) -> None:
    path = media / "long.mp4"
    with path.open("wb") as file:
        file.write(MP4)
        file.truncate(256 << 20)
    for _ in range(3):
        with files.client.stream("GET", "/api/console/media", params={"path": str(path)}) as answer:
            next(answer.iter_raw())
    deadline = time.monotonic() + 10
    while [link for link in Path("/proc/self/fd").iterdir() if _leads_to(link, path)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except OSError:
        return False


# Headers and thumbnails


def test_a_header_is_told(files: Console, media: Path) -> None:
    path = clip(media / "a.mp4", rate="25", seconds=2)
    found = files.get("info", path=path).json()
    assert (found["kind"], found["width"], found["height"], found["frame_rate"]) == ("video", 160, 90, "25")
    assert (found["frame_count"], found["has_audio"], found["type"]) == (50, True, "video/mp4")
    assert found["bytes"] == path.stat().st_size


def test_what_is_no_media_has_neither_header_nor_thumbnail(files: Console, media: Path) -> None:
    for path in (renamed_text(media / "t.mp4"), ruined(media / "r.mp4")):
        for endpoint in ("info", "thumbnail"):
            assert path.name in refused(files.get(endpoint, path=path), 415)


def picture_of(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(answer.content))


def test_thumbnails_are_upright_and_never_enlarged(files: Console, media: Path) -> None:
    turned = oriented(media / "turned.mp4", 90)
    assert picture_of(files.get("thumbnail", path=turned, width=45)).size == (45, 80)
    assert picture_of(files.get("thumbnail", path=turned, width=1920)).size == (90, 160)
    Image.new("RGB", (400, 200), "red").save(media / "p.png")
    picture = picture_of(files.get("thumbnail", path=media / "p.png", width=100))
    assert picture.size == (100, 50)
    assert picture.getpixel((50, 25))[0] > 240  # type: ignore[index]
    for path in (ten_bit(media / "deep.mp4"), odd_sized(media / "odd.mp4")):
        assert picture_of(files.get("thumbnail", path=path)).width in {160, 175}


def test_a_thumbnail_is_of_the_frame_that_was_asked_for(files: Console, media: Path) -> None:
    frames = [np.full((64, 64, 3), number * 8, np.uint8) for number in range(30)]
    path = from_pictures(media / "grey.mp4", frames)

    def grey(**query: object) -> int:
        return picture_of(files.get("thumbnail", path=path, **query)).convert("L").getpixel((32, 32))  # type: ignore[return-value]

    for number in (0, 7, 29):
        assert abs(grey(frame=number) - number * 8) <= 6
    assert abs(grey(frame=500) - 29 * 8) <= 6
    assert grey(at=0) <= 6


@pytest.mark.parametrize("query", [{"width": 15}, {"width": 1921}, {"at": -1}, {"at": "nan"}, {"frame": "1.5"}])
def test_a_place_that_cannot_be_is_refused(files: Console, film: Path, query: dict[str, object]) -> None:
    refused(files.get("thumbnail", path=film, **query), 400)


def test_a_thumbnail_is_made_once(files: Console, media: Path) -> None:
    path = clip(media / "a.mp4")
    first = files.get("thumbnail", path=path)
    etag = first.headers["etag"]
    known = files.client.get("/api/console/thumbnail", params={"path": str(path)}, headers={"if-none-match": etag})
    assert known.status_code == 304
    begun = time.monotonic()
    assert files.get("thumbnail", path=path).content == first.content
    assert time.monotonic() - begun < 0.5
    assert files.get("thumbnail", path=path, width=64).headers["etag"] != etag
