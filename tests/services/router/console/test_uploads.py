"""In a browser: uploads that are large, slow or broken off, and pages of somebody else."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.clips import write_clip
from services.router.console_api import uploads
from shared.settings import ConsoleSettings, Settings
from shared.testing.stack import Stack
from tests.support.browser import page_at, violations
from tests.support.console import serving_console
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]

LARGE = 200 << 20
SLOW = 2 << 20  # bytes a second
PATIENCE_SECONDS = 60.0


def film_of(size: int, target: Path) -> Path:
    """Write a film of so many bytes: all but some kilobytes are a box that players skip."""
    film = write_clip(target, size=(96, 64), frames=10)
    with film.open("r+b") as file:
        end = file.seek(0, 2)
        file.write((size - end).to_bytes(4, "big") + b"free")
        file.truncate(size)
    return film


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return film_of(LARGE, tmp_path / "large.mp4")


@pytest.fixture
def folder(media: Path, request: pytest.FixtureRequest) -> Path:
    name: str = request.node.name
    folder = media / name
    folder.mkdir()
    return folder


def slow_down(page: Page) -> None:
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": SLOW}
    line.send("Network.emulateNetworkConditions", conditions)


def fill(target: Path) -> None:
    """Write until nothing more fits."""
    with target.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))


def choose(page: Page, folder: Path, film: Path) -> None:
    page.goto(f"/#/files?folder={folder}")
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Upload", exact=True).click()
    choosing.value.set_files(film)


def test_a_film_of_200_mb_arrives_whole_under_its_name(english: Page, folder: Path, large: Path) -> None:
    choose(english, folder, large)
    expect(english.locator(".entry", has_text=large.name)).to_be_visible()
    [arrived] = folder.iterdir()
    digests = []
    for path in (large, arrived):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    assert digests[0] == digests[1]


def test_a_slow_upload_shows_how_far_it_is_and_leaves_nothing_when_its_page_is_closed(
    browser: Browser, stack: Stack, folder: Path, large: Path
) -> None:
    with page_at(browser, stack.url) as page:
        slow_down(page)
        choose(page, folder, large)
        expect(page.locator(".uploads .number")).to_have_text(re.compile(r"^[1-9]"))  # per cent
        while not list(folder.iterdir()):
            page.wait_for_timeout(50)
        assert [path.name[0] for path in folder.iterdir()] == ["."]  # hidden until it is complete
    deadline = time.monotonic() + PATIENCE_SECONDS
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(folder.iterdir()) == []


@contextmanager
def page_over(browser: Browser, folder: Path, state: Path, **console: int) -> Iterator[Page]:
    """A console of this process whose one media root is `folder`."""
    settings = Settings(state_dir=state, media_roots=(folder,), console=ConsoleSettings(**console))
    with serving_console(settings) as served, page_at(browser, str(served.client.base_url)) as page:
        yield page


@pytest.mark.needs_root
def test_a_disk_without_room_is_said_before_anything_is_sent(browser: Browser, tmp_path: Path, large: Path) -> None:
    sent: list[str] = []
    (tmp_path / "disk").mkdir()
    with (
        small_disk(tmp_path / "disk", "size=16m") as disk,
        page_over(browser, disk, tmp_path / "state") as page,
    ):
        page.on("request", lambda request: sent.append(request.method))
        choose(page, disk, large)
        expect(page.locator(".uploads [role=alert]")).to_contain_text("there is no space left in the folder disk")
        assert violations(page) == []
        assert list(disk.iterdir()) == []
    assert sent.count("POST") == 1  # the session


@pytest.mark.needs_root
def test_a_disk_that_fills_up_during_an_upload_is_said_and_nothing_of_it_stays(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 0)
    (tmp_path / "disk").mkdir()
    with (
        small_disk(tmp_path / "disk", "size=30m") as disk,
        page_over(browser, disk, tmp_path / "state") as page,
    ):
        slow_down(page)
        choose(page, disk, film_of(24 << 20, tmp_path / "film.mp4"))
        while not list(disk.iterdir()):
            page.wait_for_timeout(20)
        fill(disk / "filler")
        expect(page.locator(".uploads [role=alert]")).to_contain_text("there is no space left in the folder disk")
        assert [path.name for path in disk.iterdir()] == ["filler"]


def test_a_file_above_the_limit_is_refused_at_once_however_slow_the_line(
    browser: Browser, tmp_path: Path, large: Path
) -> None:
    with large.open("r+b") as file:
        file.truncate(2 << 30)
    (tmp_path / "media").mkdir()
    with page_over(browser, tmp_path / "media", tmp_path / "state", upload_max_mb=1024) as page:
        begun = time.monotonic()
        choose(page, tmp_path / "media", large)
        expect(page.locator(".uploads [role=alert]")).to_contain_text("1024 MB")
        assert time.monotonic() - begun < PATIENCE_SECONDS


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """Another origin on this machine."""
    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title>", encoding="utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, name="elsewhere", daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_a_page_of_another_origin_reads_nothing_does_nothing_and_frames_nothing(
    browser: Browser, stack: Stack, elsewhere: str
) -> None:
    context = browser.new_context(base_url=stack.url)
    page = context.new_page()
    page.goto("/#/tasks")  # from here on this browser has a session
    expect(page.get_by_role("navigation")).to_be_visible()
    page.goto(elsewhere)
    tried = page.evaluate(
        """async url => {
            const outcome = async (path, options) => {
                try { return (await fetch(url + path, {credentials: "include", ...options})).status }
                catch (problem) { return String(problem.name) }
            };
            return [
                await outcome("/api/console/tasks"),
                await outcome("/api/console/session", {method: "POST", body: "{}"}),
                await outcome("/api/console/files?folder=/&name=a.mp4", {method: "POST", body: "x"}),
            ];
        }""",
        stack.url,
    )
    assert tried == ["TypeError"] * 3  # without CORS headers a script is told nothing
    page.evaluate("url => { document.body.innerHTML = `<iframe src='${url}/'></iframe>` }", stack.url)
    page.wait_for_timeout(1000)
    [_, frame] = page.frames
    assert frame.url.startswith("chrome-error:")
    context.close()
