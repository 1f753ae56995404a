"""The catalogue of sentences: both languages, the same facts, one line."""

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from shared.errors import Problem, Rejected, one_line, sentences
from shared.vocabulary import LANGUAGES, Language

ROOT = Path(__file__).parents[2]
PROBLEMS = {"Problem", "Rejected", "Busy", "Unavailable", "UnreadableMedia", "JobFailed"}


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


@pytest.mark.parametrize("key", sorted(sentences()))
def test_a_sentence_exists_in_both_languages_with_the_same_facts(key: str) -> None:
    entry = sentences()[key]
    assert set(entry) == {"en", "zh"}
    assert placeholders(entry["en"]) == placeholders(entry["zh"])
    assert re.search(r"[\u4e00-\u9fff]", entry["zh"])


def test_every_problem_that_the_code_raises_has_its_sentence_and_its_facts() -> None:
    for path in [*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in PROBLEMS and node.args):
                continue
            key = node.args[0]
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                continue
            assert key.value in sentences(), f"{path.relative_to(ROOT)}:{node.lineno} has no sentence {key.value!r}"
            named = {keyword.arg for keyword in node.keywords}
            if None not in named:
                missing = placeholders(sentences()[key.value]["en"]) - named
                assert not missing, f"{path.relative_to(ROOT)}:{node.lineno} leaves out {missing}"


def test_a_problem_reads_as_one_line_of_at_most_255_characters() -> None:
    assert one_line("a\nb\x00c") == r"a\nb\x00c"
    assert len(one_line("长" * 400)) == 255


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["d" * 244, "d" * 4000, "名" * 255, "\n" * 255], ids=len)
def test_a_long_name_is_shortened_in_the_middle_so_that_the_sentence_stands(name: str, language: Language) -> None:
    problem = Rejected("folder_unwritable", field="dist_dir", name=name + "/end.mp4", reason="Read-only file system")
    short = Rejected("folder_unwritable", field="dist_dir", name="…", reason="Read-only file system").sentence(language)
    sentence = problem.sentence(language)
    assert 200 < len(sentence) <= 255
    before, after = short.split("…")
    assert sentence.startswith(before)
    assert sentence.endswith("end.mp4" + after)


@pytest.mark.parametrize("key", sorted(sentences()))
def test_no_fact_however_long_cuts_a_sentence_at_its_end(key: str) -> None:
    named = placeholders(sentences()[key]["en"])
    for language in LANGUAGES:
        try:
            sentence = Problem(key, **dict.fromkeys(named, "d" * 5000)).sentence(language)
        except ValueError:  # a placeholder for a number
            continue
        ending = sentences()[key][language].rpartition("}")[2]
        assert len(sentence) <= 255
        assert sentence.endswith(ending)


def test_a_problem_is_an_exception_whose_text_is_the_english_sentence() -> None:
    key = next(key for key, entry in sentences().items() if not placeholders(entry["en"]))
    assert str(Problem(key)) == Problem(key).sentence("en")
