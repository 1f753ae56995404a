"""The picture of the face studio in docs/console.md: two people, each with the other's face.

    python -m benchmarks.console_picture

draws docs/images/console-faces.webp, with Debian's Chromium and media of the catalogue that may be shown.
"""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from PIL import Image as Pillow
from playwright.sync_api import Page, ViewportSize, expect

from benchmarks.clips import write_frames
from benchmarks.console import WAIT_MILLISECONDS, chromium
from shared import weights
from shared.arrays import Image
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

TARGET = Path(__file__).parents[1] / "docs/images/console-faces.webp"
WINDOW: ViewportSize = {"width": 1280, "height": 1370}
FRAMES = 24
HER_BEST = 240  # the frame of her clip from which she looks into the camera
QUALITY = 80
SEEN_AS = "/media"  # what the page calls the folder, wherever it lies


def main() -> None:
    """Take the picture."""
    with TemporaryDirectory() as name, Receiver() as receiver:
        folder = Path(name) / "media"
        folder.mkdir()
        shutil.copy(weights.path("picture-single-face"), folder / "ben.jpg")
        Pillow.fromarray(frames_of("clip-woman-hands", HER_BEST)[0][:, 160:]).save(folder / "anna.png")
        write_frames(folder / "film.mp4", side_by_side(), (960, 360))
        environment = {"KINORA_SERVICES": "facefusion", "KINORA_PATH_MAP": f"{SEEN_AS}={folder}"}
        stack = Stack(Path(name) / "state", (folder,), receiver.url, environment=environment)
        with stack.running(), chromium() as browser:
            page = browser.new_page(base_url=stack.url, viewport=WINDOW, locale="en-US", color_scheme="dark")
            page.set_default_timeout(WAIT_MILLISECONDS)
            expect.set_options(timeout=WAIT_MILLISECONDS)
            exchange(page)
            shown = Pillow.open(io.BytesIO(page.screenshot()))
    shown.save(TARGET, quality=QUALITY, method=6)


def side_by_side() -> Iterator[Image]:
    """Yield frames (360, 960, 3) with the man of one clip on the left and the woman of another on the right."""
    for his, hers in zip(frames_of("clip-single-face", 0), frames_of("clip-woman-hands", HER_BEST), strict=True):
        yield np.hstack([his[:, 40:520], hers[:, 160:]])


def frames_of(clip: str, first: int) -> list[Image]:
    with av.open(str(weights.path(clip))) as container:
        pictures = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        return [np.asarray(one, np.uint8) for at, one in enumerate(pictures) if first <= at < first + FRAMES]


def exchange(page: Page) -> None:
    """Put Ben on the woman of the film and Anna on the man, as a person does it, and show nearly all of the result."""
    page.goto(f"/#/faces?source_file={SEEN_AS}/ben.jpg&target_file={SEEN_AS}/film.mp4")
    page.get_by_role("textbox", name="Folder of the result").fill(f"{SEEN_AS}/results")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Add another person").click()
    page.get_by_role("textbox", name="Portrait of person 2").fill(f"{SEEN_AS}/anna.png")
    page.get_by_role("group", name="Person 1").get_by_role("radio", name="Face 2").check(force=True)
    with page.expect_response(lambda answer: "/thumbnail" in answer.url and "results" in answer.url):
        pass
    expect(page.locator(".studio-stage .is-busy")).to_have_count(0)
    page.get_by_role("slider", name="Divider between before and after").press("Home")
    page.locator(".toasts p").wait_for(state="detached")
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1000)  # pictures are decoded after they have come


if __name__ == "__main__":
    main()
