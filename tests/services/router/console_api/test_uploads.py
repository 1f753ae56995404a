"""Uploads: complete and media or nothing at all, never over another file, whatever breaks."""

import fcntl
import http.client
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.router.console_api import uploads
from services.router.console_api.guard import CSRF_HEADER
from services.router.console_api.sessions import COOKIE
from shared.errors import Unavailable
from shared.media.probe import ProbePool
from shared.settings import ConsoleSettings, Settings
from tests.support.clips import clip
from tests.support.console import Console, serving_console
from tests.support.fake_upstream import ACCEPTED, refused
from tests.support.small_disk import small_disk

URL = "/api/console/files"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clip(tmp_path_factory.mktemp("film") / "film.mp4").read_bytes()


def send(console: Console, folder: Path | str, name: str, content: Any, **headers: str) -> httpx.Response:
    return console.client.post(URL, params={"folder": str(folder), "name": name}, content=content, headers=headers)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def wait_until_empty(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while left(folder):
        assert time.monotonic() < deadline, left(folder)
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["film.mp4", 'q"<b>&.mp4', "片 😀.mp4", "שלום.mp4", "no ending", "a..b.mp4"])
def test_a_file_is_stored_under_its_name(files: Console, media: Path, film: bytes, name: str) -> None:
    answer = send(files, media, name, film)
    assert answer.status_code == 201, answer.text
    entry = answer.json()
    assert (entry["name"], entry["path"], entry["bytes"]) == (name, str(media / name), len(film))
    assert (media / name).read_bytes() == film
    assert left(media) == [name]


def test_nothing_is_overwritten(files: Console, media: Path, film: bytes) -> None:
    (media / "film.mp4").write_bytes(b"mine")
    assert send(files, media, "film.mp4", film).json()["name"] == "film-2.mp4"
    assert (media / "film.mp4").read_bytes() == b"mine"


def test_two_uploads_of_one_name_at_once_are_two_files(files: Console, media: Path, film: bytes) -> None:
    barrier = threading.Barrier(3)

    def slowly() -> Iterator[bytes]:
        barrier.wait(10)
        yield film[:1000]
        barrier.wait(10)
        yield film[1000:]

    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(send(files, media, "a.mp4", slowly()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 3
    assert left(media) == ["a-2.mp4", "a-3.mp4", "a.mp4"]
    assert all((media / name).read_bytes() == film for name in left(media))


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden.mp4", "a/b.mp4", "../b.mp4", "a\nb.mp4", "a\0b.mp4", "x" * 201, "字" * 67]
)
def test_a_name_that_is_no_bare_name_is_refused(files: Console, media: Path, film: bytes, name: str) -> None:
    refused(send(files, media, name, film), 400)
    assert left(media) == []


@pytest.mark.parametrize("folder", ["", "/etc", "/tmp", "{media}/..", "{media}/nowhere", "{media}/out"])
def test_a_folder_that_is_none_of_the_roots_gets_nothing(
    files: Console, media: Path, film: bytes, folder: str, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (media / "out").symlink_to(outside)
    refused(send(files, folder.format(media=media), "a.mp4", film), 404)
    assert (left(outside), left(media)) == ([], ["out"])


@pytest.mark.parametrize(
    "content",
    [b"", b"<!doctype html><script>", b"<svg onload=x>", b"plain words " * 5000, b"\x7fELF" + bytes(range(256)) * 20,
     b"\x00\x00\x00\x18ftypisom" + bytes(5000)],
)  # fmt: skip
def test_what_is_no_media_leaves_nothing_whatever_it_is_called(files: Console, media: Path, content: bytes) -> None:
    assert "a.mp4" in refused(send(files, media, "a.mp4", content), 415)
    assert left(media) == []


def test_an_installation_without_codecs_goes_by_the_first_bytes(
    files: Console, media: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("probe_unavailable")

    monkeypatch.setattr(ProbePool, "_ask", away)
    assert send(files, media, "a.mp4", film).status_code == 201
    refused(send(files, media, "b.mp4", b"\x7fELF" + bytes(range(256)) * 20), 415)
    refused(files.get("thumbnail", path=media / "a.mp4"), 503)
    assert files.get("media", path=media / "a.mp4").status_code == 200
    assert left(media) == ["a.mp4"]


def test_an_upload_needs_the_csrf_token(files: Console, media: Path, film: bytes) -> None:
    refused(send(files, media, "a.mp4", film, **{CSRF_HEADER: "x"}), 403)
    refused(send(files, media, "a.mp4", film, origin="http://evil.example"), 403)
    assert left(media) == []


def begun(console: Console, media: Path, head: bytes, *, length: int) -> socket.socket:
    """Begin an upload by hand and leave it there."""
    url = console.client.base_url
    connection = socket.create_connection((url.host, url.port))
    lines = [
        f"POST {URL}?folder={media}&name=a.mp4 HTTP/1.1", f"host: {url.host}:{url.port}", f"content-length: {length}",
        f"cookie: {COOKIE}={console.client.cookies[COOKIE]}", f"{CSRF_HEADER}: {console.client.headers[CSRF_HEADER]}",
    ]  # fmt: skip
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + head)
    return connection


def test_an_upload_has_a_hidden_name_until_it_is_complete_and_leaves_nothing_when_it_breaks_off(
    files: Console, media: Path, film: bytes
) -> None:
    with begun(files, media, film[:2000], length=len(film)):
        deadline = time.monotonic() + 10
        while not left(media):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert all(name.startswith(".") for name in left(media))
        assert files.get("files", folder=media).json()["entries"] == []
    wait_until_empty(media)
    assert send(files, media, "a.mp4", film).status_code == 201


def test_an_upload_that_falls_silent_is_given_up(
    files: Console, media: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SILENT_SECONDS", 0.3)
    with begun(files, media, film[:2000], length=len(film)) as connection:
        connection.settimeout(10)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert "sent nothing" in json.loads(answer.read())["err_msg"]
    wait_until_empty(media)


def test_a_slow_upload_that_goes_on_is_waited_for(
    files: Console, media: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SILENT_SECONDS", 2.0)

    def slowly() -> Iterator[bytes]:
        for place in range(0, len(film), len(film) // 8):
            time.sleep(0.3)
            yield film[place : place + len(film) // 8]

    assert send(files, media, "a.mp4", slowly()).status_code == 201


def test_only_a_few_at_once(files: Console, media: Path, film: bytes) -> None:
    held = [begun(files, media, film[:2000], length=len(film)) for _ in range(uploads.AT_ONCE)]
    deadline = time.monotonic() + 10
    while len(left(media)) < uploads.AT_ONCE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    busy = send(files, media, "a.mp4", film)
    assert "busy" in refused(busy, 429)
    assert busy.headers["retry-after"]
    for connection in held:
        connection.close()
    wait_until_empty(media)
    assert send(files, media, "a.mp4", film).status_code == 201


def limited(tmp_path: Path, media: Path, megabytes: int) -> Settings:
    return Settings(
        state_dir=tmp_path / "state", media_roots=(media,), console=ConsoleSettings(upload_max_mb=megabytes)
    )


def test_a_file_above_the_limit_is_refused_whether_it_says_its_size_or_not(
    tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 0)
    content = b"\x00\x00\x00\x18ftypisom" + bytes(2 << 20)
    with serving_console(limited(tmp_path, media, 1)) as console:
        console.sign_in()
        assert "1 MB" in refused(send(console, media, "a.mp4", content), 413)
        chunks = (content[place : place + 65536] for place in range(0, len(content), 65536))
        with suppress(httpx.WriteError):  # the connection may be closed before all was sent
            refused(send(console, media, "a.mp4", chunks), 413)
        wait_until_empty(media)


def test_uploads_can_be_turned_off(tmp_path: Path, media: Path, film: bytes) -> None:
    with serving_console(limited(tmp_path, media, 0)) as console:
        console.sign_in()
        assert "turned off" in refused(send(console, media, "a.mp4", film), 403)
        assert console.get("files").json()["upload_limit_bytes"] == 0


def test_a_disk_that_would_be_too_full_takes_nothing(
    files: Console, media: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 1 << 60)
    assert "no space left" in refused(send(files, media, "a.mp4", film), 507)
    assert left(media) == []


def test_a_disk_that_is_full_in_the_middle_leaves_nothing(files: Console, media: Path) -> None:
    """A file that may grow no further fails as one on a full disk does."""
    content = b"\x00\x00\x00\x18ftypisom" + bytes(8 << 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, before[1]))
    try:
        assert "no space left" in refused(send(files, media, "a.mp4", content), 507)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    wait_until_empty(media)


@pytest.mark.needs_root
def test_a_disk_that_is_full_when_the_file_gets_its_name_leaves_nothing(
    files: Console, media: Path, film: bytes
) -> None:
    """Its own name needs an inode here, and the hidden name has the last one."""
    with small_disk(media, "size=64m,nr_inodes=2"):
        assert "no space left" in refused(send(files, media, "a.mp4", film), 507)
        assert left(media) == []


def test_whether_an_upload_would_be_taken_is_told_before_it_is_sent(
    tmp_path: Path, media: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 0)
    with serving_console(limited(tmp_path, media, 1)) as console:
        console.sign_in()
        assert console.get("upload", folder=media, name="a.mp4", bytes=len(film)).json() == ACCEPTED
        assert "1 MB" in refused(console.get("upload", folder=media, name="a.mp4", bytes=2 << 20), 413)
        refused(console.get("upload", folder=media / "nowhere", name="a.mp4"), 404)
        refused(console.get("upload", folder=media, name="a/b.mp4"), 400)
        refused(console.get("upload", folder=media, name="a.mp4", bytes="x"), 400)
        monkeypatch.setattr(uploads, "RESERVE_BYTES", 1 << 60)
        assert "no space left" in refused(console.get("upload", folder=media, name="a.mp4", bytes=1), 507)
    assert left(media) == []


def test_what_a_killed_process_left_is_swept_at_the_next_start_and_what_still_grows_is_not(
    tmp_path: Path, media: Path, film: bytes
) -> None:
    settings = Settings(state_dir=tmp_path / "state", media_roots=(media,))
    dead, alive, strange = "0" * 16, "a" * 16, "../../x"
    for token in (dead, alive):
        (media / f".kinora-upload-{token}.part").write_bytes(film)
    (media / ".kinora-upload-somebody.part").write_bytes(b"not ours")
    known = tmp_path / "state/console/uploads.json"
    known.parent.mkdir(parents=True)
    known.write_text(json.dumps({dead: str(media), alive: str(media), strange: str(media), "b" * 16: "/etc"}))
    with (media / f".kinora-upload-{alive}.part").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with serving_console(settings) as console:
            deadline = time.monotonic() + 10
            while len(left(media)) > 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert console.sign_in()
    assert left(media) == [f".kinora-upload-{alive}.part", ".kinora-upload-somebody.part"]
