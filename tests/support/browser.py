"""A real browser for the tests of the console: Debian's Chromium, headless, which reaches nothing but loopback."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

WAIT_MILLISECONDS = 180_000  # only detects what never happens: the machine may be busy
LOCALES = {"en": "en-US", "zh": "zh-CN"}
_ROOT_NEEDS = ("--no-sandbox", "--disable-dev-shm-usage")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a running browser."""
    expect.set_options(timeout=WAIT_MILLISECONDS)
    program = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ROOT_NEEDS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_at(browser: Browser, url: str, language: str = "en", *, width: int = 1280, **options: Any) -> Iterator[Page]:
    """Open a page with cookies of its own; an error in one of its scripts fails the test."""
    context = browser.new_context(
        base_url=url, locale=LOCALES[language], viewport={"width": width, "height": 860}, **options
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    try:
        yield page
    finally:
        context.close()
    assert errors == []


def wait_until(page: Page, expression: str) -> None:
    """Wait until an expression is true in the page; Playwright's own waiting needs `eval`, which our policy forbids."""
    deadline = time.monotonic() + WAIT_MILLISECONDS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong in the page as it is now, one line a rule."""
    found = Axe().run(page).response
    assert found["passes"], "axe has looked at nothing"
    return [f"{one['id']}: {one['help']} {[node['target'] for node in one['nodes']]}" for one in found["violations"]]
