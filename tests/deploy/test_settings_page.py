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
    assert settings_page.CHINESE_PAGE.read_text(encoding="utf-8") == settings_page.chinese_page(), "run `make docs`"


def test_every_sentence_has_its_chinese_in_the_catalogue_and_none_is_left_over() -> None:
    assert sorted(settings_page.chinese_sentences()) == sorted(settings_page.english_sentences())


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
        ("KINORA_CREATION_STEPS", "a whole number above 0", "the model's"),
        ("KINORA_DATABASE_URL", "`postgresql://USER:PASSWORD@HOST/NAME`", "embedded"),
        ("KINORA_VERSION", "at most 20 letters, digits and `._+-`", "the installed release"),
    ],
)
def test_values_and_defaults_are_told_in_words(variable: str, value: str, default: str) -> None:
    rows = {name: cells for name, *cells in ROW.findall(settings_page.page())}
    assert rows[variable][:2] == [value, default]


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_the_readme_has_the_defaults_of_the_model(readme: str) -> None:
    defaults = {variable: default for variable, _, default, _ in ROW.findall(settings_page.page())}
    text = (ROOT / readme).read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(KINORA_\w+)` \| (.+?) \| .+ \|$", text, re.MULTILINE)
    assert len(shown) == 10
    for variable, default in shown:
        if "`" in default:  # the others are in words
            assert default.replace("./", "") == defaults[variable]


CHINESE = [ROOT / "README.zh.md", *sorted((ROOT / "docs/zh").glob("*.md"))]


@pytest.mark.parametrize("document", [*DOCUMENTS, *CHINESE], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_only_variables_that_exist(document: Path) -> None:
    named = set(re.findall(r"\bKINORA_[A-Z_]*[A-Z]\b", document.read_text(encoding="utf-8")))
    assert named <= set(Settings.variables())
