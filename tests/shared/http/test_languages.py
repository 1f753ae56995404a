"""What an `Accept-Language` header asks for."""

import pytest

from shared.http.languages import language_asked
from shared.vocabulary import Language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.5", "en"),
        ("zh", "zh"),
        ("ZH-hans-CN", "zh"),
        ("en;q=0.1, zh ; q=0.7", "zh"),
        ("en, zh", "en"),  # as much: the first
        ("zh, en", "zh"),
        ("fr, en;q=0.3", "en"),
        ("en;q=0, zh;q=0.1", "zh"),
    ],
)
def test_the_language_that_is_liked_most_is_asked_for(header: str, language: Language) -> None:
    assert language_asked(header) == language


@pytest.mark.parametrize(
    "header",
    ["", "*", "fr, de", "en;q=0", "english", "zha", "en;q=much", "en;q=nan", "en;q=inf", "en;q=-1", "en;v=1", ";;,=,"],
)
def test_none_of_ours_is_asked_for(header: str) -> None:
    assert language_asked(header) is None


def test_of_a_header_without_end_only_the_beginning_is_read() -> None:
    assert language_asked("fr," * 20_000 + "zh") is None
    assert language_asked("zh," + "fr," * 20_000) == "zh"
