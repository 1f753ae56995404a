"""In a browser: names and files as people really have them, and what goes away while somebody looks."""

import time
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.clips import write_clip
from services.router.console_api.guard import CSRF_HEADER
from shared.settings import AccessSettings, Settings
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from tests.support.browser import page_at, violations, wait_until
from tests.support.console import SESSION, serving_console

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]

ODD_NAMES = [
    "\"double\" 'single' `back`.mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "&lt;b&gt; & %41 {t} ${x} #?.mp4",
    "短片 🎬 👩‍👩‍👧.mp4",
    "שלום עולם \u202egnp.mp4",
    "a" * 180 + ".mp4",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_shown_as_it_is_and_works(english: Page, stack: Stack, media: Path, name: str) -> None:
    film = write_clip(media / f"odd {time.time_ns()}" / name, size=(48, 32), frames=6)
    task_id = time.time_ns() // 1000
    with stack.client() as client:
        body = {"task_id": task_id, "category": 3, "video_url": str(film), "dist_dir": str(film.parent)}
        assert client.post("/api/ai/creation", json=body).json()["err_code"] == 0
    english.goto("/#/tasks")
    row = english.locator(".task", has_text=f"#{task_id}")
    expect(row.locator(".name bdi")).to_have_text(name)
    row.locator(".whole").click()
    expect(english.get_by_role("heading", level=1)).to_have_text(name)
    expect(english.locator("video")).to_have_count(2)
    wait_until(english, "[...document.querySelectorAll('video')].every(v => v.readyState >= 2)")
    english.goto("/#/files")
    english.get_by_role("button", name=media.name).click()
    english.get_by_role("button", name=film.parent.name).click()
    expect(english.locator(".entry .name bdi", has_text=name)).to_have_text(name)


def test_what_is_no_media_is_refused_with_its_sentence_and_nothing_stays(
    english: Page, media: Path, tmp_path: Path
) -> None:
    folder = media / "refused"
    folder.mkdir(exist_ok=True)
    english.goto(f"/#/files?folder={folder}")
    (tmp_path / "film.mp4").write_text("<script>alert(1)</script>")
    with english.expect_file_chooser() as choosing:
        english.get_by_role("button", name="Upload", exact=True).click()
    choosing.value.set_files(tmp_path / "film.mp4")
    expect(english.locator(".uploads [role=alert]")).not_to_be_empty()
    assert list(folder.iterdir()) == []


def test_two_uploads_of_one_name_are_two_files(english: Page, media: Path, tmp_path: Path) -> None:
    folder = media / "twice"
    folder.mkdir(exist_ok=True)
    own = write_clip(tmp_path / "same.mp4", size=(48, 32), frames=6)
    english.goto(f"/#/files?folder={folder}")
    for count in (1, 2):
        with english.expect_file_chooser() as choosing:
            english.get_by_role("button", name="Upload", exact=True).click()
        choosing.value.set_files(own)
        expect(english.locator(".entry")).to_have_count(count)
    assert len({path.read_bytes() for path in folder.iterdir()}) == 1


def test_a_folder_outside_the_roots_and_an_unknown_task_are_sentences(english: Page) -> None:
    english.goto("/#/files?folder=/etc")
    expect(english.get_by_role("alert")).not_to_be_empty()
    english.goto("/#/task/upscale/999999999999")
    expect(english.get_by_role("alert")).to_contain_text("999999999999")


def test_a_result_that_has_gone_is_said(english: Page, stack: Stack, media: Path) -> None:
    film = write_clip(media / f"gone {time.time_ns()}" / "film.mp4", size=(48, 32), frames=6)
    task_id = time.time_ns() // 1000
    with stack.client() as client:
        body = {"task_id": task_id, "category": 3, "video_url": str(film), "dist_dir": str(film.parent / "out")}
        client.post("/api/ai/creation", json=body)
        while client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]["state"] != "succeeded":
            time.sleep(0.2)
    for path in (film.parent / "out").iterdir():
        path.unlink()
    english.goto(f"/#/task/creation/{task_id}")
    expect(english.get_by_role("alert")).to_contain_text(f"there is no file {task_id}_creation")
    expect(english.locator(".gone")).to_have_count(1)
    assert violations(english) == []


def write_noise(target: Path, *, frames: int) -> Path:
    """Write a film that is much larger than what a browser loads ahead: noise, every frame by itself."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 120, 160, 3), dtype=np.uint8)
    with av.open(target, "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "qp": "10", "g": "1"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for number in range(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(noise[number % 4], format="rgb24")))
        container.mux(video.encode())
    return target


def test_a_film_that_vanishes_while_it_plays_is_said(english: Page, media: Path) -> None:
    folder = media / "vanishing"
    folder.mkdir()
    film = write_noise(folder / "film.mp4", frames=1500)
    english.goto(f"/#/files?folder={folder}")
    english.locator(".entry").get_by_role("button").click()
    dialog = english.get_by_role("dialog")
    dialog.get_by_role("button", name="Play", exact=True).click()
    wait_until(english, "document.querySelector('video').currentTime > 0.2")
    film.unlink()
    dialog.get_by_role("slider", name="Position").fill("55")  # what is not loaded yet
    expect(dialog.get_by_role("alert")).to_contain_text("there is no file film.mp4")
    expect(dialog.locator("video")).to_have_count(0)


def test_a_session_that_ends_asks_for_the_token_again(browser: Browser, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, access=AccessSettings(token="t0ken"))
    with serving_console(settings) as console, page_at(browser, str(console.client.base_url)) as page:
        page.goto("/")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("KINORA_TOKEN")
        assert violations(page) == []
        page.get_by_label("Token").fill("t0ken")
        page.keyboard.press("Enter")
        expect(page.get_by_role("navigation")).to_be_visible()
        assert "t0ken" not in page.url
        csrf = page.request.get(SESSION).json()["csrf"]
        assert page.request.delete(SESSION, headers={CSRF_HEADER: csrf}).ok  # as from another tab
        expect(page.get_by_label("Token")).to_be_visible()


def test_the_page_survives_a_killed_router(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    with Receiver() as receiver:
        stack = Stack(
            tmp_path / "state", (tmp_path / "media",), receiver.url, environment={"KINORA_SERVICES": "creation"}
        )
        try:
            stack.start().wait_ready()
            with page_at(browser, stack.url) as page:
                page.goto("/")
                expect(page.get_by_text("Live", exact=True)).to_be_visible()
                stack.kill()
                expect(page.get_by_text("Every few seconds")).to_be_visible()
                expect(page.get_by_role("alert")).to_contain_text("does not answer")
                stack.start().wait_ready()
                expect(page.get_by_text("Live", exact=True)).to_be_visible()
                expect(page.get_by_role("alert")).to_have_count(0)
        finally:
            stack.kill()
