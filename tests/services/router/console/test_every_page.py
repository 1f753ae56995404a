"""In a browser: every page in both languages, both colour schemes and both widths, for everybody who looks at it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from shared.testing.stack import Stack
from tests.support.browser import page_at, violations

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]

NARROW = 360  # pixels of a small telephone


@pytest.fixture(scope="module")
def done(stack: Stack, clip: Path, media: Path) -> int:
    """The id of a task that has ended."""
    task_id = time.time_ns() // 1000
    with stack.client() as client:
        body = {"task_id": task_id, "category": 3, "video_url": str(clip), "dist_dir": str(media / "every-page")}
        assert client.post("/api/ai/creation", json=body).json()["err_code"] == 0
        while client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]["state"] != "succeeded":
            time.sleep(0.2)
    return task_id


def addresses(media: Path, done: int) -> list[str]:
    pages = ["tasks", "tasks?q=nothing-like-it", f"task/creation/{done}", "new", "faces", "files", "system"]
    return [
        *pages,
        *(f"new/{name}" for name in ("creation", "facefusion", "interpo", "upscale")),
        f"files?folder={media}",
    ]


def settle(page: Page, address: str) -> None:
    page.goto(f"/#/{address}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("load")
    page.wait_for_timeout(400)  # pictures and lists come after the heading


LOOKS = [("en", "light", 1280), ("en", "dark", NARROW), ("zh", "dark", 1280), ("zh", "light", NARROW)]


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}-{look[2]}")
def look(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Page]:
    language, scheme, width = request.param
    with page_at(browser, stack.url, language, width=width, color_scheme=scheme) as page:
        yield page


def test_axe_finds_nothing_and_nothing_is_cut_off(look: Page, media: Path, done: int) -> None:
    for address in addresses(media, done):
        settle(look, address)
        assert violations(look) == [], address
        assert look.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), address
        words = look.locator("body").inner_text()
        assert not re.search(r"\b(page|task|field|state|system)\.[a-z_]+\b(?!\.)", words), address


OUTLINED = "(e => getComputedStyle(e).outlineStyle !== 'none' || e.matches('body, .divider'))(document.activeElement)"
NAMED = "(e => e.getAttribute('aria-label') || e.innerText)(document.activeElement)"


def test_the_keyboard_reaches_everything(english: Page, done: int) -> None:
    settle(english, f"task/creation/{done}")
    seen: set[str] = set()
    for _ in range(60):
        english.keyboard.press("Tab")
        seen.add(english.evaluate(NAMED))
        assert english.evaluate(OUTLINED), seen
    assert {"Tasks", "Files", "Run again", "Download", "Play", "One frame forward", "100 %", "Send again"} <= seen
    english.get_by_role("group", name="Comparison; drag to move when zoomed").focus()
    english.keyboard.press(".")
    expect(english.locator(".time")).to_contain_text("frame 1")


def test_language_and_colours_are_chosen_and_kept(browser: Browser, stack: Stack) -> None:
    with page_at(browser, stack.url, "zh") as page:
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("任务")
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        page.get_by_label("语言").select_option("en")
        expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
        page.get_by_role("button", name="Colours: as the system").click()
        page.get_by_role("button", name="Colours: light").click()
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
        assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"


def test_the_system_shows_its_services_and_the_doctor_examines(page: Page, words: dict[str, str]) -> None:
    page.goto("/#/system")
    expect(page.locator(".service .is-succeeded")).to_have_count(4)
    expect(page.locator("table code", has_text="realesr-animevideov3")).to_have_count(1)
    page.get_by_role("button", name=words["doctor.examine"]).click()
    expect(page.locator(".findings li").first).to_be_visible()
    assert violations(page) == []
