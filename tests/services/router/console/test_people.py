"""In a browser: several people in one face fusion, each with a portrait and a face of the preview's gallery."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from services.facefusion.face_entries import MOST_ENTRIES
from shared import weights
from shared.testing.stack import Stack
from tests.support.browser import page_at, violations
from tests.support.faces import pair, save
from tests.support.faces import woman as picture_of_woman

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]

TEXTS = Path(__file__).parents[4] / "services" / "router" / "console" / "text"
NARROW = 360  # pixels of a small telephone
ENGLISH: dict[str, str] = json.loads((TEXTS / "en.json").read_text(encoding="utf-8"))
ANNA, BEN, FILM = "/media/anna.png", "/media/ben.png", "/media/film.mp4"


@dataclass
class Gallery:
    """Answers for face fusion: every preview succeeds at once and has found this many faces."""

    faces: int
    sent: list[dict[str, Any]] = field(default_factory=list)

    def serve(self, page: Page) -> None:
        page.route("**/api/console/submit/facefusion", self._accept)
        page.route("**/api/console/tasks/*?service=facefusion&kind=preview", self._tell)

    def _accept(self, route: Route) -> None:
        self.sent.append(json.loads(route.request.post_data or ""))
        route.fulfill(json={"err_code": 0, "err_msg": ""})

    def _tell(self, route: Route) -> None:
        crops = [{"field": "reference_images", "name": f"{at}.jpg", "path": f"/{at}.jpg"} for at in range(self.faces)]
        distances = [{"distances": [abs(one - two) / 4 for two in range(self.faces)]} for one in range(self.faces)]
        found = {
            "state": "succeeded", "request": self.sent[-1], "details": {"faces": distances},
            "results": [{"field": "preview_image", "name": "swapped.jpg", "path": "/swapped.jpg"}, *crops],
        }  # fmt: skip
        route.fulfill(json={"tasks": [found], "unreachable": []})


@pytest.fixture
def narrow(browser: Browser, stack: Stack, language: str) -> Iterator[Page]:
    with page_at(browser, stack.url, language, width=NARROW, color_scheme="dark") as page:
        yield page


def preview(page: Page, words: dict[str, str], source: object, target: object, folder: object) -> Locator:
    """Ask for a preview of one person; return the card with the faces that it found."""
    page.goto(f"/#/faces?source_file={source}&target_file={target}")
    page.get_by_role("textbox", name=words["field.dist_dir"]).fill(str(folder))
    page.get_by_role("button", name=words["faces.preview"]).click()
    card = page.locator(".face-choice")
    expect(card.get_by_role("radio").first).to_be_attached()
    return card


def person(page: Page, words: dict[str, str], number: int) -> Locator:
    name = re.compile(rf"^{words['people.person'].format(number=number)}(?!\d)")
    return page.locator(".person").filter(has=page.get_by_role("heading", name=name))


def positions(page: Page) -> list[int]:
    """Return the face that each person is put on, as the page shows it."""
    found: list[int] = page.locator(".person").evaluate_all(
        "all => all.map(one => [...one.querySelectorAll('input[type=radio]')].findIndex(radio => radio.checked))"
    )
    return found


def last_faces(gallery: Gallery, page: Page, expected: object) -> None:
    """Wait until the newest preview was asked for with these `faces`; None is a request without them."""
    for _ in range(600):
        if gallery.sent[-1].get("faces") == expected:
            return
        page.wait_for_timeout(100)
    assert gallery.sent[-1].get("faces") == expected


def test_each_person_is_put_on_the_face_that_was_clicked(english: Page, media: Path) -> None:
    folder = media / "several"
    folder.mkdir()
    man = Path(shutil.copy(weights.path("picture-single-face"), folder / "man.jpg"))
    woman = save(folder / "woman.png", picture_of_woman())
    both = save(folder / "both.png", pair())  # he is face 1 and she is face 2: each gets the other's
    preview(english, ENGLISH, man, both, folder / "out")
    english.get_by_role("button", name=ENGLISH["people.add"]).click()

    second = person(english, ENGLISH, 2)
    second.get_by_role("textbox").fill(str(folder / "nobody.jpg"))
    expect(second.get_by_role("alert")).to_contain_text("faces[1].source_file")  # the service's own sentence
    expect(person(english, ENGLISH, 1).get_by_role("alert")).to_have_count(0)
    second.get_by_role("textbox").fill(str(woman))
    assert positions(english) == [0, 1]
    person(english, ENGLISH, 1).locator("label", has=english.get_by_alt_text("Face 2")).click()
    expect(second.locator("label", has=english.get_by_alt_text("Face 2"))).to_contain_text("Person 1")
    expect(second.get_by_role("alert")).to_have_count(0)
    with english.expect_request("**/submit/facefusion") as sent:
        english.get_by_role("button", name=ENGLISH["faces.generate"]).click()

    body = json.loads(sent.value.post_data or "")
    assert "source_file" not in body
    assert "reference_face_position" not in body
    assert body["faces"] == [
        {"source_file": str(man), "reference_face_position": 1, "reference_face_distance": 0.5},
        {"source_file": str(woman), "reference_face_position": 0, "reference_face_distance": 0.5},
    ]
    expect(english.locator(".head")).to_contain_text("2 people")
    swapped = english.locator(".tracks li.is-swapped")
    expect(swapped).to_have_count(2, timeout=300_000)  # the first generation loads its models
    expect(swapped.filter(has_text="person 1, man.jpg")).to_have_count(1)
    expect(swapped.filter(has_text="person 2, woman.png")).to_have_count(1)
    assert violations(english) == []


def test_the_keyboard_adds_places_exchanges_and_removes(narrow: Page, words: dict[str, str]) -> None:
    gallery = Gallery(faces=4)
    gallery.serve(narrow)
    card = preview(narrow, words, ANNA, FILM, "/media/out")
    assert gallery.sent[-1]["source_file"] == ANNA
    for _ in range(2):
        card.get_by_role("button", name=words["people.add"]).press("Enter")
    focused = narrow.locator(":focus")
    portrait = words["people.portrait"].format(number=3)
    expect(focused).to_have_accessible_name(words["field.choose"].format(field=portrait))
    generate = narrow.get_by_role("button", name=words["faces.generate"])
    expect(generate).to_be_disabled()
    expect(narrow.locator(".missing")).to_contain_text(portrait)
    narrow.keyboard.press("Tab")
    narrow.keyboard.type(BEN)
    assert positions(narrow) == [0, 1, 2]
    last_faces(gallery, narrow, [
        {"source_file": ANNA, "reference_face_position": 0, "reference_face_distance": 0.5},
        {"source_file": BEN, "reference_face_position": 2, "reference_face_distance": 0.5},
    ])  # fmt: skip

    person(narrow, words, 1).get_by_role("radio").first.focus()
    narrow.keyboard.press("ArrowRight")
    assert positions(narrow) == [1, 0, 2]
    expect(narrow.get_by_text(words["people.exchanged"].format(number=2, face=1))).to_be_visible()
    narrow.keyboard.press("ArrowRight")
    narrow.keyboard.press("ArrowRight")
    assert positions(narrow) == [3, 1, 2], "whose faces were only passed on the way have them again"
    assert narrow.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert violations(narrow) == []

    for number in (2, 1):
        narrow.get_by_role("button", name=words["people.remove"].format(number=number)).press("Enter")
        expect(card.get_by_role("heading", level=2)).to_be_focused()
    expect(narrow.get_by_role("textbox", name=words["field.source_file"])).to_have_value(BEN)
    last_faces(gallery, narrow, None)
    assert gallery.sent[-1]["reference_face_position"] == 2
    expect(generate).to_be_enabled()


def test_there_are_as_many_people_as_faces_and_as_the_contract_takes(english: Page) -> None:
    gallery = Gallery(faces=1)
    gallery.serve(english)
    card = preview(english, ENGLISH, ANNA, FILM, "/media/out")
    add = card.get_by_role("button", name=ENGLISH["people.add"])
    expect(add).to_have_count(0)

    gallery.faces = 2
    english.get_by_role("button", name=ENGLISH["faces.preview"]).click()
    add.click()
    expect(add).to_be_disabled()
    expect(card).to_contain_text(ENGLISH["people.taken"])
    gallery.faces = MOST_ENTRIES + 5
    english.get_by_role("button", name=ENGLISH["faces.preview"]).click()
    expect(add).to_be_enabled()
    for _ in range(MOST_ENTRIES - 2):
        add.click()
    expect(add).to_be_disabled()
    expect(card).to_contain_text(ENGLISH["people.most"].format(count=MOST_ENTRIES))
    assert positions(english) == list(range(MOST_ENTRIES))

    gallery.faces = 3
    english.get_by_role("button", name=ENGLISH["faces.preview"]).click()
    expect(person(english, ENGLISH, 4)).to_contain_text(ENGLISH["people.no_face"].format(number=4))
    assert positions(english) == [0, 1, 2, *[-1] * (MOST_ENTRIES - 3)]


def test_without_chosen_faces_people_are_told_apart_by_age_and_gender(english: Page) -> None:
    gallery = Gallery(faces=1)
    gallery.serve(english)
    card = preview(english, ENGLISH, ANNA, FILM, "/media/out")
    english.get_by_role("combobox", name=ENGLISH["field.face_analyse_age"], exact=True).select_option("adult")
    english.get_by_role("radio", name=ENGLISH["face_mode.many"], exact=True).check()
    card.get_by_role("button", name=ENGLISH["people.add"]).click()
    second = person(english, ENGLISH, 2)
    second.get_by_role("textbox").fill(BEN)
    second.get_by_role("radio", name=ENGLISH["face_gender.male"], exact=True).check()
    person(english, ENGLISH, 1).get_by_role("combobox").select_option("senior")

    last_faces(gallery, english, [
        {"source_file": ANNA, "face_analyse_age": "senior"}, {"source_file": BEN, "face_analyse_gender": "male"},
    ])  # fmt: skip
    assert not {"face_analyse_age", "face_analyse_gender", "source_file"} & gallery.sent[-1].keys()
    assert gallery.sent[-1]["face_selector_mode"] == "many"
