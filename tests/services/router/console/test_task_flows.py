"""In a browser, over the whole stack: submit, watch, compare, look closer, run again; files as input."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from benchmarks.clips import write_clip
from shared.testing.stack import Stack
from tests.support.browser import violations, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]

Words = dict[str, str]


@pytest.fixture
def film(media: Path, language: str) -> Path:
    """A clip of its own for each test, long enough to be seen running."""
    return write_clip(media / f"flows-{language}" / f"film {time.time_ns()}.mp4", size=(96, 64), frames=20, sound=True)


def submit(page: Page, words: Words, film: Path) -> None:
    page.goto("/#/new")
    page.get_by_role("link", name=words["service.creation"]).click()
    page.get_by_role("radio", name=words["category.3"]).check()
    page.get_by_role("textbox", name=words["field.video_url"]).fill(str(film))
    page.get_by_role("radio", name=words["style.2"]).check()
    page.get_by_role("button", name=words["camera.pan_left"], exact=True).click()
    page.get_by_role("button", name=words["camera.zoom_in"]).click()
    page.get_by_role("button", name=words["form.submit"]).click()
    # No folder was chosen: the service's own sentence stands beside that field.
    expect(page.locator(".field.is-dist_dir [role=alert]")).to_contain_text("dist_dir")
    page.get_by_role("textbox", name=words["field.dist_dir"]).fill(str(film.parent / "out"))
    page.get_by_role("button", name=words["form.submit"]).click()


def test_a_task_is_submitted_followed_compared_and_run_again(page: Page, film: Path, words: Words) -> None:
    submit(page, words, film)
    expect(page.get_by_role("heading", level=1)).to_have_text(film.name)
    stage = page.get_by_role("group", name=words["compare.stage"])
    expect(stage.locator("video")).to_have_count(2)

    # Both videos stand at the same frame after a step.
    page.get_by_role("button", name=words["compare.forward"]).click()
    page.get_by_role("button", name=words["compare.forward"]).click()
    expect(page.locator(".time")).to_contain_text("2")
    wait_until(page, "[...document.querySelectorAll('video')].every(v => Math.abs(v.currentTime - 2.5 / 25) < 0.03)")

    divider = page.get_by_role("slider", name=words["compare.divider"])
    divider.focus()
    page.keyboard.press("Home")
    expect(divider).to_have_attribute("aria-valuenow", "0")
    page.get_by_role("button", name="100 %").click()
    page.get_by_role("button", name=words["compare.zoom_in"]).click()
    assert page.locator(".moved").first.evaluate("e => new DOMMatrix(getComputedStyle(e).transform).a") > 1
    page.get_by_role("radio", name=words["compare.side"]).check()

    page.get_by_role("button", name="JSON").click()
    expect(page.locator("pre").first).to_contain_text('"camera": "zoom in, pan left"')
    expect(page.get_by_label("Go", exact=True)).to_contain_text('VideoURL: "/')
    page.get_by_role("button", name=words["action.replay"]).click()
    expect(page.locator(".tries li")).to_have_count(2)
    page.get_by_role("button", name=words["action.again"]).click()
    expect(page.get_by_text(words["said.again"])).to_be_visible()
    assert violations(page) == []


def test_the_list_is_live_filtered_searched_and_kept_in_the_address(
    page: Page, stack: Stack, film: Path, words: Words
) -> None:
    with stack.client() as client:
        page.goto("/")
        expect(page.get_by_text(words["standing.live"], exact=True)).to_be_visible()
        task_id = time.time_ns() // 1000
        body = {"task_id": task_id, "category": 3, "video_url": str(film), "dist_dir": str(film.parent / "out")}
        assert client.post("/api/ai/creation", json=body).json()["err_code"] == 0
        row = page.locator(".task", has_text=f"#{task_id}")
        expect(row).to_contain_text(words["state.succeeded"])  # without a reload

        page.get_by_label(words["tasks.search"]).fill(str(task_id))
        expect(page.locator(".task")).to_have_count(1)
        page.get_by_role("radio", name=words["state.failed"]).check()
        expect(page.get_by_text(words["tasks.none_found"])).to_be_visible()
        assert "state=failed" in page.url
        page.reload()
        expect(page.get_by_text(words["tasks.none_found"])).to_be_visible()
        page.get_by_role("button", name=words["tasks.show_all"]).click()
        expect(row).to_be_visible()
        page.get_by_role("link", name=re.compile(re.escape(film.name))).first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(film.name)


def test_a_running_task_is_cancelled(page: Page, media: Path, words: Words, language: str) -> None:
    film = write_clip(media / f"long-{language}" / "long.mp4", size=(320, 240), frames=700)
    submit(page, words, film)
    page.get_by_role("button", name=words["action.cancel"]).click()
    expect(page.locator(".outcome .state")).to_have_text(words["state.cancelled"])


def test_a_file_is_uploaded_looked_at_and_taken_as_input(
    page: Page, media: Path, tmp_path: Path, words: Words, language: str
) -> None:
    folder = media / f"uploads-{language}"
    folder.mkdir(exist_ok=True)
    own = write_clip(tmp_path / "mine.mp4", size=(96, 64), frames=10)
    page.goto("/#/files")
    page.get_by_role("button", name=media.name).click()
    page.get_by_role("button", name=folder.name).click()
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name=words["files.upload"], exact=True).click()
    choosing.value.set_files(own)
    entry = page.locator(".entry", has_text="mine.mp4")
    expect(entry).to_be_visible()
    assert (folder / "mine.mp4").read_bytes() == own.read_bytes()
    assert violations(page) == []

    entry.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("96 × 64")
    dialog.get_by_role("link", name=words["service.interpo"]).click()
    expect(page.get_by_role("textbox", name=words["field.video_url"])).to_have_value(str(folder / "mine.mp4"))
    page.get_by_role("radio", name="4×").check()
    page.get_by_role("button", name=words["action.choose"]).last.click()  # the folder of the result
    chooser = page.get_by_role("dialog")
    chooser.get_by_role("button", name=media.name).click()
    chooser.get_by_role("button", name=words["field.use_folder"].format(folder=media.name)).click()
    expect(page.get_by_role("textbox", name=words["field.dist_dir"])).to_have_value(str(media))
