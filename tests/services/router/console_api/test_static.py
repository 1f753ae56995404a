"""The console's own files: types, caching, packing, a policy, and no way out of their folder."""

import gzip
import re
from collections.abc import Iterator

import pytest

from services.router.console_api.static import static_files
from shared.settings import Settings
from tests.support.console import Console, serving_console
from tests.support.fake_upstream import refused


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with serving_console(Settings(state_dir=tmp_path_factory.mktemp("state"))) as console:
        yield console


def test_every_file_is_served_with_its_type_and_the_policy(console: Console) -> None:
    assert "index.html" in static_files()
    for name, file in static_files().items():
        answer = console.client.get(f"/console/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == file.media_type
        assert answer.content == file.plain
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert {"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'"} <= set(policy.split("; "))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(console: Console) -> None:
    page = console.client.get("/").text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"""https?://|@import|url\(|<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)""", page)


def test_what_the_browser_has_is_not_sent_again(console: Console) -> None:
    first = console.client.get("/")
    etag = first.headers["etag"]
    for known in (etag, f'"other", W/{etag}'):
        again = console.client.get("/", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert console.client.get("/", headers={"if-none-match": '"other"'}).status_code == 200


def test_files_are_packed_only_for_who_can_unpack_them(console: Console) -> None:
    with console.client.stream("GET", "/", headers={"accept-encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    plain = console.client.get("/", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    assert gzip.decompress(raw) == plain.content
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "path",
    [
        "../proxy.py", "..%2fproxy.py", "%2e%2e/service.py", "....//service.py", "/etc/passwd", "%2fetc/passwd", "",
        ".hidden", "app.js%00.html", "nowhere.js", "..\\proxy.py",
    ],
)  # fmt: skip
def test_there_is_no_way_out_of_the_folder(console: Console, path: str) -> None:
    refused(console.client.get(f"/console/{path}"), 404)


def test_a_page_is_only_read(console: Console) -> None:
    refused(console.client.post("/"), 405)
    head = console.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
