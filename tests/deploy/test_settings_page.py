"""The page of settings: it is what the model says, and whatever a document names is in it."""

import re
from pathlib import Path

import pytest

from deploy import settings_page
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROW = re.compile(r"^\| `((?:KINORA|OTEL)_\w+)` \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)


def test_the_page_is_what_the_model_says() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run `make docs`"


def test_every_variable_has_its_row_with_a_sentence() -> None:
    rows = {variable: meaning for variable, _, _, meaning in ROW.findall(settings_page.page())}
    assert list(rows) == list(Settings.variables())
    assert [variable for variable, meaning in rows.items() if not meaning.endswith(".")] == []


@pytest.mark.parametrize(
    ("variable", "value", "default"),
    [
        ("KINORA_CRF", "a whole number from 0 to 51", "`18`"),
        ("KINORA_MAX_QUEUED", "a whole number above 0", "`100`"),
        ("KINORA_DRAIN_SECONDS", "a number from 0", "`600`"),
        ("KINORA_NSFW_SHARE", "a number from 0, below 1", "`0.1`"),
        ("KINORA_DEVICE", "`auto`, `cpu`, `cuda`", "`auto`"),
        ("KINORA_PRELOAD", "`true`, `false`", "`false`"),
        ("KINORA_MEDIA_ROOTS", "folders, separated by colons", "`media`"),
        ("KINORA_CREATION_STEPS", "a whole number above 0", "the plan's"),
        ("KINORA_DATABASE_URL", "`postgresql://USER:PASSWORD@HOST/NAME`", "embedded"),
        ("KINORA_VERSION", "at most 20 letters, digits and `._+-`", "the installed release"),
    ],
)
def test_values_and_defaults_are_told_in_words(variable: str, value: str, default: str) -> None:
    rows = {name: cells for name, *cells in ROW.findall(settings_page.page())}
    assert rows[variable][:2] == [value, default]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_variables_that_exist(document: Path) -> None:
    named = set(re.findall(r"\bKINORA_[A-Z_]*[A-Z]\b", document.read_text(encoding="utf-8")))
    assert named <= set(Settings.variables())
