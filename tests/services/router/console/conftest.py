"""A Chromium for each module of the console's tests."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from shared.testing.stack import Stack
from tests.support.browser import chromium, page_at

TEXTS = Path(__file__).parents[4] / "services" / "router" / "console" / "text"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not the session's: while it is open, Playwright's event loop runs in this thread, and `asyncio.run` refuses."""
    with chromium() as browser:
        yield browser


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def words(language: str) -> dict[str, str]:
    """What the page says, by key."""
    found: dict[str, str] = json.loads((TEXTS / f"{language}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def page(browser: Browser, stack: Stack, language: str) -> Iterator[Page]:
    """The console of the session's stack, once in each language."""
    with page_at(browser, stack.url, language) as page:
        yield page


@pytest.fixture
def english(browser: Browser, stack: Stack) -> Iterator[Page]:
    """The console of the session's stack in English."""
    with page_at(browser, stack.url) as page:
        yield page
