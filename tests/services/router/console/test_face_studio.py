"""In a browser, over the whole stack: two people, a preview, a face to choose, and the generation with its report."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared import weights
from tests.support.browser import violations

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]


@pytest.fixture(scope="module")
def people(media: Path) -> tuple[Path, Path]:
    """The portrait, and the film of the target: one person of freely licensed media."""
    folder = media / "people"
    folder.mkdir()
    portrait, film = (weights.path(name) for name in ("picture-single-face", "clip-single-face"))
    return Path(shutil.copy(portrait, folder / portrait.name)), Path(shutil.copy(film, folder / film.name))


def test_a_face_is_chosen_in_a_preview_and_replaced_in_the_whole(
    page: Page, people: tuple[Path, Path], words: dict[str, str], language: str
) -> None:
    portrait, film = people
    page.goto("/#/faces")
    expect(page.get_by_text(words["faces.start"])).to_be_visible()
    page.goto(f"/#/files?folder={portrait.parent}")
    page.locator(".entry", has_text=portrait.name).get_by_role("button").click()
    page.get_by_role("link", name=words["use_as.source_file"]).click()
    page.get_by_role("textbox", name=words["field.target_file"]).fill(str(film))
    page.get_by_role("textbox", name=words["field.dist_dir"]).fill(str(film.parent / f"out-{language}"))
    page.get_by_role("slider", name=words["field.frame_number"]).fill("30")
    page.get_by_role("button", name=words["faces.preview"]).click()

    faces = page.locator(".face-choice")
    expect(faces.get_by_role("radio")).to_have_count(1)
    expect(faces).to_contain_text("0.00")  # the distance of the chosen face to itself
    expect(page.get_by_role("slider", name=words["compare.divider"])).to_be_visible()
    page.get_by_role("slider", name=words["field.reference_face_distance"]).fill("0.8")
    expect(faces.locator("output")).to_have_text("0.8")
    assert violations(page) == []

    page.get_by_role("button", name=words["faces.generate"]).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(film.name)
    expect(page.get_by_text(words["match.title"])).to_be_visible(timeout=240_000)
    expect(page.locator(".tracks li.is-swapped")).to_have_count(1)
    expect(page.locator("video")).to_have_count(2)
    assert violations(page) == []


def test_a_frame_without_a_face_says_so(
    page: Page, people: tuple[Path, Path], media: Path, clip: Path, words: dict[str, str]
) -> None:
    page.goto("/#/faces")
    for field, value in {"source_file": people[0], "target_file": clip, "dist_dir": media / "no-face"}.items():
        page.get_by_role("textbox", name=words[f"field.{field}"]).fill(str(value))
    page.get_by_role("button", name=words["faces.preview"]).click()
    expect(page.get_by_role("alert").first).not_to_be_empty()
