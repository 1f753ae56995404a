"""The console in a real browser: first paint, an update on screen, a preview from click to picture, a long list."""

import gzip
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, sync_playwright

from benchmarks.clips import write_clip
from benchmarks.report import Report
from shared import weights
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

LOADS, UPDATES, PREVIEWS, TASKS = 7, 3, 4, 1000
WAIT_MILLISECONDS = 120_000
CONSOLE = Path(__file__).parents[1] / "services" / "router" / "console"
_PAINTED = "performance.getEntriesByName('first-contentful-paint').length > 0"
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
_NOW_DONE = "document.querySelector('.task .state.is-succeeded') ? Date.now() : 0"
_WATCH = "window.long = []; new PerformanceObserver(list => long.push(...list.getEntries().map(e => e.duration))).observe({type: 'longtask'})"  # fmt: skip  # noqa: E501


def measure() -> Report:
    """Measure all of it on one stack."""
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as (stack, media), chromium() as browser:
        figures: dict[str, Any] = {
            "first_load_bytes": first_load_bytes(),
            "first_paint_ms": [first_paint(browser, stack) for _ in range(LOADS)],
            "update_ms": [update(browser, stack, media, number) for number in range(1, UPDATES + 1)],
            "preview_ms": previews(browser, stack, media),
            "longest_frame_ms": long_list(browser, stack),
        }
    shown = {
        "first load, compressed": f"{figures['first_load_bytes'] / 1000:.0f} kB",
        "first contentful paint": _median(figures["first_paint_ms"]),
        "end of a task until it is on screen": _median(figures["update_ms"]),
        "preview 640x360, warm, from click to picture": _median(figures["preview_ms"][1:]),
        f"longest script while {TASKS:,} tasks are scrolled": f"{figures['longest_frame_ms']:.0f} ms",
    }
    notes = ["Chromium, headless, on the machine that also runs the stack. A script below 50 ms counts as 0."]
    return Report("console", "Console", ["what", "median"], [list(row) for row in shown.items()], figures, notes)


@contextmanager
def started(folder: Path) -> Iterator[tuple[Stack, Path]]:
    """Start upscaling and face fusion over a folder with the media of one person."""
    media = folder / "media"
    media.mkdir()
    for name in ("picture-single-face", "clip-single-face"):
        shutil.copy(weights.path(name), media)
    with Receiver() as receiver:
        settings = {"KINORA_SERVICES": "upscale,facefusion", "KINORA_PRESET": "ultrafast"}
        with Stack(folder / "state", (media,), receiver.url, environment=settings).running() as stack:
            yield stack, media


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, stack: Stack) -> Iterator[Page]:
    """Yield a page with a session of its own."""
    # Without the policy: it would forbid the expressions that are waited for.
    context = browser.new_context(
        base_url=stack.url, viewport={"width": 1280, "height": 860}, locale="en-US", bypass_csp=True
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    yield context.new_page()
    context.close()


def first_load_bytes() -> int:
    """Return the compressed size of everything that the first page loads."""
    kinds = {".js", ".css", ".html"}
    files = [path for path in CONSOLE.rglob("*") if path.suffix in kinds] + [CONSOLE / "text" / "en.json"]
    return sum(len(gzip.compress(path.read_bytes())) for path in files)


def first_paint(browser: Browser, stack: Stack) -> float:
    """Return milliseconds to the first contentful paint of a browser with a session and an empty cache."""
    with page_of(browser, stack) as page:
        page.request.post("/api/console/session", data={"token": ""})
        page.goto("/")
        page.locator("h1").wait_for()
        page.wait_for_function(_PAINTED)
        return float(page.evaluate(_PAINT))


def update(browser: Browser, stack: Stack, media: Path, task_id: int) -> float:
    """Return milliseconds from the end of a task in the database until the list shows it."""
    with page_of(browser, stack) as page, stack.client() as client:
        page.goto(f"/#/tasks?q={task_id}")
        page.get_by_text("Live", exact=True).wait_for()
        client.post("/api/ai/upscale", json=small_task(task_id, media))
        shown = page.wait_for_function(_NOW_DONE, timeout=600_000, polling=20).json_value()
        ended = client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]["finished_at"]
        return float(shown - page.evaluate("text => new Date(text).getTime()", ended))


def small_task(task_id: int, media: Path) -> dict[str, Any]:
    """Return a request that takes about a second, on a file of its own."""
    film = write_clip(media / f"small-{task_id}.mkv", size=(48, 32), frames=12)
    return {"task_id": task_id, "video_url": str(film), "ratio": 1, "dist_dir": str(media / "out")}


def previews(browser: Browser, stack: Stack, media: Path) -> list[float]:
    """Return milliseconds from a click on Preview until its picture is there; the first loads the models."""
    portrait, film = next(media.glob("*.jpg")), next(media.glob("*.mp4"))
    taken = []
    with page_of(browser, stack) as page:
        page.goto(f"/#/faces?source_file={portrait}&target_file={film}")
        page.get_by_role("textbox", name="Folder of the result").fill(str(media / "previews"))
        for number in range(PREVIEWS):
            page.get_by_role("slider", name="Frame", exact=True).fill(str(10 * number))
            begin = time.monotonic()
            page.get_by_role("button", name="Preview").click()
            page.wait_for_function("[...document.querySelectorAll('.after img')].some(image => image.complete)")
            page.wait_for_function("document.querySelector('.studio-stage .is-busy') === null")
            taken.append(1000 * (time.monotonic() - begin))
    return taken


def long_list(browser: Browser, stack: Stack) -> float:
    """Return the longest script in milliseconds while a list of many tasks is loaded by scrolling."""
    with page_of(browser, stack) as page:
        page.goto("/")
        page.locator(".task").first.wait_for()
        row: dict[str, Any] = page.evaluate("fetch('api/console/tasks?limit=1').then(r => r.json())")["rows"][0]
        page.route("**/api/console/tasks?*", _pages_of(row))
        page.goto("/#/tasks?service=upscale")
        page.evaluate(_WATCH)
        while page.locator(".task").count() < TASKS:
            page.mouse.wheel(0, 4000)
            page.wait_for_timeout(60)
        scripts: list[float] = page.evaluate("long")
        return max([0.0, *scripts])


def _pages_of(row: dict[str, Any]) -> Callable[[Route], None]:
    """Answer with as many tasks as are asked for, until there are enough."""
    sent = [0]

    def answer(route: Route) -> None:
        first = sent[0] if "before=" in route.request.url else 0
        rows = [
            row | {"id": f"row-{number}", "task_id": number, "task_id_text": str(number)}
            for number in range(first, first + 50)
        ]
        sent[0] = first + 50
        route.fulfill(
            content_type="application/json",
            body=json.dumps({"rows": rows, "next": "more" if sent[0] < TASKS else None, "unreachable": []}),
        )

    return answer


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ms"
