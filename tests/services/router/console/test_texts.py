"""The page's words: both languages are complete, and every key that a module uses exists."""

import json
import re
from pathlib import Path
from string import Formatter

import pytest

from shared.cli.request_options import request_type
from shared.vocabulary import CALLBACK_STATES, LANGUAGES, SERVICES, TASK_KINDS, TASK_STATES

CONSOLE = Path(__file__).parents[4] / "services" / "router" / "console"
WORDS = {name: json.loads((CONSOLE / "text" / f"{name}.json").read_text(encoding="utf-8")) for name in LANGUAGES}
MODULES = {
    path: path.read_text(encoding="utf-8") for path in CONSOLE.rglob("*.js") if path.parent.name != "vendor"
}  # fmt: skip
FAMILIES = {key.split(".")[0] for key in WORDS["en"]}
DEPRECATED = {"prompt_en", "ng_prompt_en"}  # the form leaves them out

_LITERAL = re.compile(r'"([a-z_]+\.[^"$]+)"')
_ASKED = re.compile(r'\bt\(\s*"([^"]+)"')
_FAMILY = re.compile(r'\bt\(`([a-z_]+)\.\$\{|\bword\(\s*"([a-z_]+)"|known\(`([a-z_]+)\.\$\{|family="([a-z_]+)"')


def literal_keys() -> set[str]:
    """Return what looks like a key, in ternaries and tables as well."""
    found = {key for source in MODULES.values() for key in _LITERAL.findall(source)}
    return {key for key in found if key.split(".")[0] in FAMILIES and not key.endswith((".js", ".svg"))}


def asked_families() -> set[str]:
    named = {name for source in MODULES.values() for names in _FAMILY.findall(source) for name in names if name}
    kept = next(source for path, source in MODULES.items() if path.name == "fields.js")
    table = re.search(r"const FAMILIES = \{(.*?)\}", kept, re.DOTALL)
    assert table
    return named | set(re.findall(r'"([a-z_]+)"', table[1]))


def test_both_languages_have_the_same_keys_and_placeholders() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    for key in WORDS["en"]:
        names = [{name for _, name, _, _ in Formatter().parse(WORDS[language][key]) if name} for language in LANGUAGES]
        assert names[0] == names[1], key
        assert all(WORDS[language][key].strip() for language in LANGUAGES), key


def test_every_key_that_a_module_uses_exists() -> None:
    used = literal_keys() | {key for source in MODULES.values() for key in _ASKED.findall(source)}
    assert used - WORDS["en"].keys() == set()
    assert asked_families() <= FAMILIES


def test_no_word_is_left_over() -> None:
    spare = {key for key in WORDS["en"] if key.split(".")[0] not in asked_families()} - literal_keys()
    assert spare == set()


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("state", TASK_STATES),
        ("callback", CALLBACK_STATES),
        ("service", SERVICES),
        ("service_hint", SERVICES),
        ("kind", TASK_KINDS),
        ("style", ["0", "1", "2"]),
        ("category", ["1", "2", "3"]),
    ],
)
def test_what_the_services_name_has_words(family: str, values: list[str]) -> None:
    assert {f"{family}.{value}" for value in values} <= WORDS["en"].keys()


@pytest.mark.parametrize("service", SERVICES)
def test_every_field_of_a_request_has_a_label_and_every_word_of_a_choice(service: str) -> None:
    families = {"face_selector_mode": "face_mode"} | {
        f"face_analyse_{name}": f"face_{name}" for name in ("order", "age", "gender")
    }
    schema = request_type(service).model_json_schema()["properties"]  # type: ignore[arg-type]
    for name, described in schema.items():
        if name not in DEPRECATED:
            assert f"field.{name}" in WORDS["en"]
        for value in described.get("enum", []):
            if name in families:
                assert f"{families[name]}.{value}" in WORDS["en"]
