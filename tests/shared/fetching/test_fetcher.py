"""Fetching from real servers on loopback, which break, lie, redirect and change what they serve."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.errors import JobFailed
from shared.fetching import fetcher as module
from shared.fetching.fetcher import Fetcher
from shared.fetching.partial_file import PartialFile, fetched_name
from shared.fetching.web_address import WebAddress
from shared.files.handles import OutputDir
from shared.settings import FetchSettings
from tests.support.certificates import self_signed
from tests.support.file_server import FileServer, ServedFile, file_server

MARK = "7_upscale_0badcafe-"
CONTENT = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server: FileServer) -> None:
    server.files.clear()
    server.asked.clear()


def opened(folder: Path) -> OutputDir:
    folder.mkdir(exist_ok=True)
    return OutputDir(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), folder)


def only_file(folder: Path) -> bytes:
    [path] = folder.iterdir()
    assert path.name == fetched_name(MARK, "video_url")
    return path.read_bytes()


@asynccontextmanager
async def part_in(folder: Path, attempt: int = 1) -> AsyncIterator[PartialFile]:
    with opened(folder) as out:
        part = PartialFile.open(out, MARK, "video_url", str(attempt), sync_bytes=64 << 10)
        try:
            yield part
        finally:
            part.close()


def settings_for(*servers: FileServer, **changes: Any) -> FetchSettings:
    hosts = [host for server in servers for host in (f"127.0.0.1:{server.port}", f"name.example:{server.port}")]
    return FetchSettings(**{"hosts": tuple(hosts), "private": True} | changes)


async def fetched(url: str, folder: Path, settings: FetchSettings, **how: Any) -> bytes:
    """Fetch a URL as one attempt does and return what lies there then."""
    async with part_in(folder) as part:
        await Fetcher(settings, first_pause=0.01, **how).fetch(WebAddress.read(url), part, lambda _need: None)
        part.finish()
    return only_file(folder)


async def test_a_file_comes_as_it_is_with_its_query_and_no_secret_of_ours(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.files["/a/%E7%9F%AD.mp4"] = ServedFile(CONTENT)
    url = server.url("/a/短.mp4?sig=%2B%2f&x=[1]")
    assert await fetched(url, tmp_path, settings_for(server)) == CONTENT
    [asked] = server.asked
    assert asked.path == "/a/%E7%9F%AD.mp4?sig=%2B%2f&x=[1]"
    assert asked.headers == {
        "host": f"127.0.0.1:{server.port}", "accept": "*/*", "accept-encoding": "identity", "user-agent": "kinora",
        "connection": asked.headers["connection"],
    }  # fmt: skip


async def test_a_connection_that_breaks_again_and_again_costs_what_was_not_written(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["/a"] = file = ServedFile(CONTENT, breaks_after=(1 << 20) + 1000)
    assert await fetched(server.url("/a"), tmp_path, settings_for(server)) == CONTENT
    firsts = [asked.first_byte for asked in server.asked]
    assert firsts == sorted(set(firsts))
    assert all(asked.headers["if-range"] == file.etag for asked in server.asked[1:])


async def test_the_next_attempt_asks_for_the_rest(server: FileServer, tmp_path: Path) -> None:
    server.files["/a"] = file = ServedFile(CONTENT, breaks_after=2 << 20)
    url = server.url("/a")
    async with part_in(tmp_path) as part:
        task = asyncio.create_task(
            Fetcher(settings_for(server), first_pause=60).fetch(WebAddress.read(url), part, lambda _need: None)
        )
        while part.size < 1 << 20:  # noqa: ASYNC110  # a thread writes it
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    file.breaks_after = None
    server.asked.clear()
    assert await fetched(url, tmp_path, settings_for(server)) == CONTENT
    [asked] = server.asked
    assert asked.first_byte >= 1 << 20


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"etag": '"v1"'}, {"etag": '"v2"'}),
        ({"etag": "", "modified": "Mon, 02 Nov 2026 10:00:00 GMT"}, {"modified": "Tue, 03 Nov 2026 10:00:00 GMT"}),
        ({"etag": 'W/"v1"', "modified": ""}, {"etag": 'W/"v2"'}),  # a weak one names no bytes
        ({"etag": ""}, {}),
    ],
)
async def test_a_file_that_has_changed_meanwhile_is_never_put_together_of_two(
    server: FileServer, tmp_path: Path, before: dict[str, str], after: dict[str, str]
) -> None:
    file = server.files["/a"] = ServedFile(b"1" * (3 << 20), breaks_after=2 << 20, breaks=1, **before)  # type: ignore[arg-type]

    def change(_need: int) -> None:
        if file.breaks == 0:
            file.content = b"2" * (3 << 20)
            for name, value in after.items():
                setattr(file, name, value)

    async with part_in(tmp_path) as part:
        await Fetcher(settings_for(server), first_pause=0.01).fetch(WebAddress.read(server.url("/a")), part, change)
        assert part.size == 3 << 20
        part.finish()
    assert set(only_file(tmp_path)) == {ord("2")}


async def test_a_server_that_ignores_if_range_is_found_out_by_the_part_that_it_sends(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServedFile, "goes_on", lambda _file, _version: True)
    file = server.files["/a"] = ServedFile(b"1" * (3 << 20), breaks_after=2 << 20, breaks=1)

    def change(_need: int) -> None:
        if file.breaks == 0:
            file.content, file.etag = b"2" * (3 << 20), '"v2"'

    async with part_in(tmp_path) as part:
        await Fetcher(settings_for(server), first_pause=0.01).fetch(WebAddress.read(server.url("/a")), part, change)
        part.finish()
    assert set(only_file(tmp_path)) == {ord("2")}


async def test_a_date_need_not_be_repeated_with_a_part(server: FileServer, tmp_path: Path) -> None:
    date = "Mon, 02 Nov 2026 10:00:00 GMT"
    server.files["/a"] = ServedFile(
        CONTENT, etag="", modified=date, breaks_after=2 << 20, breaks=1, repeats_validator=False
    )
    assert await fetched(server.url("/a"), tmp_path, settings_for(server)) == CONTENT
    assert [asked.headers.get("if-range") for asked in server.asked] == [None, date]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_an_allowed_host_is_followed(server: FileServer, tmp_path: Path, status: int) -> None:
    with file_server() as other:
        other.files["/b"] = ServedFile(CONTENT)
        server.files["/a"] = ServedFile(status=status, location=other.url("/b?signature=1"))
        assert await fetched(server.url("/a"), tmp_path, settings_for(server, other)) == CONTENT
        assert other.asked[0].headers["host"] == f"127.0.0.1:{other.port}"


async def refusal(url: str, folder: Path, settings: FetchSettings, **how: Any) -> JobFailed:
    with pytest.raises(JobFailed) as refused:
        await fetched(url, folder, settings, **how)
    assert "secret" not in str(refused.value)
    assert str(folder) not in str(refused.value)
    return refused.value


@pytest.mark.parametrize(
    ("location", "key"),
    [
        ("http://evil.example/x?secret", "fetch_redirected_out"),
        ("http://169.254.169.254/latest/meta-data", "fetch_redirected_out"),
        ("http://name.example@evil.example/", "fetch_redirected_badly"),
        ("file:///etc/passwd", "fetch_redirected_badly"),
        ("gopher://evil.example/", "fetch_redirected_badly"),
        ("/a", "fetch_redirects"),
    ],
)
async def test_no_redirect_leads_out_of_the_list(server: FileServer, tmp_path: Path, location: str, key: str) -> None:
    server.files["/a"] = ServedFile(status=302, location=location)
    assert (await refusal(server.url("/a?secret"), tmp_path, settings_for(server))).key == key
    assert len(server.asked) == (module.MOST_REDIRECTS + 1 if key == "fetch_redirects" else 1)


async def test_a_name_is_looked_up_once_and_connected_to_at_what_was_checked(
    server: FileServer, tmp_path: Path
) -> None:
    """A name server that answers otherwise the second time changes nothing."""
    server.files["/a"] = ServedFile(CONTENT)
    lookups = []

    async def look_up(host: str, port: int) -> list[str]:
        lookups.append((host, port))
        return ["127.0.0.1"] if len(lookups) == 1 else ["127.0.0.2"]

    url = server.url("/a", "name.example")
    assert await fetched(url, tmp_path, settings_for(server), look_up=look_up) == CONTENT
    assert lookups == [("name.example", server.port)]
    assert server.asked[0].headers["host"] == f"name.example:{server.port}"


@pytest.mark.parametrize(
    "numbers", [["127.0.0.1"], ["10.1.2.3", "169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], []]
)
async def test_a_name_with_private_addresses_only_is_not_connected_to(
    server: FileServer, tmp_path: Path, numbers: list[str]
) -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return numbers

    settings = settings_for(server, private=False)
    problem = await refusal(server.url("/a", "name.example"), tmp_path, settings, look_up=look_up)
    assert problem.key == "fetch_private"
    assert server.asked == []


async def test_a_redirect_to_a_private_address_of_an_allowed_name_is_refused_too(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host's address counts as public here, so that there is a server to redirect."""
    server.files["/a"] = ServedFile(status=302, location=server.url("/b", "127.0.0.1"))
    monkeypatch.setattr(module, "is_public", lambda number: number == "127.0.0.1" and not server.asked)

    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    settings = settings_for(server, private=False)
    problem = await refusal(server.url("/a", "name.example"), tmp_path, settings, look_up=look_up)
    assert problem.key == "fetch_private"
    assert len(server.asked) == 1


async def test_the_next_address_is_tried_where_one_does_not_answer(server: FileServer, tmp_path: Path) -> None:
    server.files["/a"] = ServedFile(CONTENT)

    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]

    assert await fetched(server.url("/a", "name.example"), tmp_path, settings_for(server), look_up=look_up) == CONTENT


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (ServedFile(status=404), "fetch_refused"),
        (ServedFile(status=403), "fetch_refused"),
        (ServedFile(status=204), "fetch_refused"),
        (ServedFile(CONTENT, packed=True), "fetch_packed"),
        (ServedFile(CONTENT), "fetch_too_large"),
        (ServedFile(CONTENT, tells_length=False), "fetch_too_large"),
        (ServedFile(status=503), "fetch_unreachable"),
        (ServedFile(b"x", etag="", unasked=True), "fetch_unreachable"),
        (ServedFile(b"x", breaks_after=0), "fetch_unreachable"),
    ],
)
async def test_what_cannot_be_had_has_its_sentence(
    server: FileServer, tmp_path: Path, file: ServedFile, key: str
) -> None:
    server.files["/a.mp4"] = file
    problem = await refusal(server.url("/a.mp4?secret"), tmp_path, settings_for(server, max_mb=2))
    assert problem.key == key
    assert "a.mp4" in str(problem)
    tries = module.MOST_FAILURES if key == "fetch_unreachable" else 1
    assert len(server.asked) == tries


async def test_a_server_that_comes_back_is_waited_for(server: FileServer, tmp_path: Path) -> None:
    file = server.files["/a"] = ServedFile(CONTENT, status=503)
    fetching = asyncio.create_task(fetched(server.url("/a"), tmp_path, settings_for(server)))
    while len(server.asked) < 2:  # noqa: ASYNC110  # a thread notes it
        await asyncio.sleep(0.005)
    file.status = 200
    assert await fetching == CONTENT


async def test_a_server_that_drips_has_so_much_time_and_no_more(server: FileServer, tmp_path: Path) -> None:
    server.files["/a"] = ServedFile(CONTENT, pause_seconds=0.5)
    begun = time.monotonic()
    problem = await refusal(server.url("/a"), tmp_path, settings_for(server, timeout_seconds=1))
    assert problem.key == "fetch_too_slow"
    assert time.monotonic() - begun < 20


async def test_there_must_be_room_before_anything_is_written(server: FileServer, tmp_path: Path) -> None:
    server.files["/a"] = ServedFile(CONTENT)
    asked = []

    def check_room(need: int) -> None:
        asked.append(need)
        raise JobFailed("disk_full", folder="out", free=1, need=2)

    async with part_in(tmp_path) as part:
        with pytest.raises(JobFailed):
            await Fetcher(settings_for(server)).fetch(WebAddress.read(server.url("/a")), part, check_room)
        assert part.size == 0
    assert asked == [len(CONTENT)]


async def test_a_certificate_must_be_that_of_the_name_though_an_address_is_connected_to(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)

    def trusted() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=certificate[0])

    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    with file_server(certificate) as secure:
        secure.files["/a"] = ServedFile(CONTENT)
        settings = FetchSettings(hosts=(f"name.example:{secure.port}", f"other.example:{secure.port}"), private=True)
        how = {"look_up": look_up, "trusted": trusted}
        assert await fetched(secure.url("/a", "name.example"), tmp_path / "1", settings, **how) == CONTENT
        problem = await refusal(secure.url("/a", "other.example"), tmp_path / "2", settings, **how)
        assert "certificate" in str(problem).lower()
        problem = await refusal(secure.url("/a", "name.example"), tmp_path / "3", settings, look_up=look_up)
        assert "certificate" in str(problem).lower()


async def test_an_ipv6_literal_is_fetched_from(tmp_path: Path) -> None:
    with file_server(host="::1") as server:
        server.files["/a"] = ServedFile(CONTENT)
        settings = FetchSettings(hosts=(f"[::1]:{server.port}",), private=True)
        assert await fetched(server.url("/a", "[::1]"), tmp_path, settings) == CONTENT
