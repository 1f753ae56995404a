"""Both languages of a document say the same: fields, defaults, limits, settings, links and code, not each word."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.creation.request import CreationRequest
from services.facefusion.request import FaceFusionRequest
from services.interpo.request import InterpoRequest
from services.upscale.request import UpscaleRequest
from shared.contract.request import TaskRequest
from tests.support.markdown import Section, sections

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.zh.md", ROOT / "deploy/examples/golang-backend/README.zh.md"]
CHINESE = [*READMES, *sorted((ROOT / "docs/zh").glob("*.md"))]

SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
COMMENT = re.compile(r"(?:^|\s+)# .*$", re.MULTILINE)
ROUTE = re.compile(r"/[a-z]+/[a-z_/]+|\{[A-Z_]+\}")
ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
WORDS = {word: str(value) for value, word in enumerate(ONES)} | {"twenty-five": "25", "half": "0.5"}
# Cells that are a default or a limit in words, and so must be the same words wherever they stand.
PHRASES = {
    "rejected": "拒绝",
    "none": "无",
    "no filter": "不筛选",
    "no camera motion": "相机不动",
    "all four": "全部四个",
    "others": "其他值",
    "outside": "超出范围",
    "outside int64": "超出 int64",
    "as above": "同上",
    "no effect: named in `ignored_fields`": "不起作用，列在 `ignored_fields` 中",
}
INT64_AND_MORE = 2**62  # these bounds are written as powers or in words


def english_of(chinese: Path) -> Path:
    """Return the document that a Chinese one translates."""
    return chinese.with_name("README.md") if chinese in READMES else ROOT / "docs" / chinese.name


def numbers(text: str) -> Counter[str]:
    """Count the numbers of a text outside code and links, without separators of thousands."""
    plain = SPAN.sub(" ", re.sub(r"\]\([^)\s]+\)", "]", text))
    return Counter(number.replace(",", "") for number in NUMBER.findall(plain))


def in_words(text: str) -> set[str]:
    """Return the numbers that an English text has in words; Chinese may write them in digits."""
    return {WORDS[word] for word in re.findall(r"[a-z]+(?:-[a-z]+)?", text.lower()) if word in WORDS}


def differences(english: str, chinese: str) -> Iterator[str]:
    """Yield what one language has and the other has not."""
    ours, theirs = sections(english), sections(chinese)
    if [section.level for section in ours] != [section.level for section in theirs]:
        yield f"headings: {[s.heading for s in ours]} and {[s.heading for s in theirs]}"
        return
    for our, their in zip(ours, theirs, strict=True):
        for difference in (*_in_text(our, their), *_in_blocks(our, their), *_in_tables(our, their)):
            yield f"{our.heading}: {difference}"


def _in_text(our: Section, their: Section) -> Iterator[str]:
    if ROUTE.findall(our.heading) != ROUTE.findall(their.heading):
        yield f"the heading is {their.heading}"
    if code := set(SPAN.findall(our.prose)) ^ set(SPAN.findall(their.prose)):
        yield f"code in one language only: {sorted(code)}"
    said, translated = set(numbers(our.prose)), set(numbers(their.prose))
    if other := (said - translated) | (translated - said - in_words(our.prose)):
        yield f"numbers in one language only: {sorted(other)}"


def _in_blocks(our: Section, their: Section) -> Iterator[str]:
    if [language for language, _ in our.blocks] != [language for language, _ in their.blocks]:
        yield "other blocks of code"
        return
    for (language, code), (_, translated) in zip(our.blocks, their.blocks, strict=True):
        # A drawing, which has no language, is in words, and so are comments: their numbers count.
        if language and COMMENT.sub("", code) != COMMENT.sub("", translated):
            yield f"other code:\n{translated}"
        elif numbers(code) != numbers(translated):
            yield f"other numbers:\n{translated}"


def _in_tables(our: Section, their: Section) -> Iterator[str]:
    shapes = [[[len(row) for row in table] for table in section.tables] for section in (our, their)]
    if shapes[0] != shapes[1]:
        yield f"tables of another shape: {shapes}"
        return
    for table, translated in zip(our.tables, their.tables, strict=True):
        for row, other in zip(table, translated, strict=True):
            for cell, translation in zip(row, other, strict=True):
                if not _same_cell(cell, translation):
                    yield f"{row[0]}: {cell!r} and {translation!r}"


def _same_cell(cell: str, translation: str) -> bool:
    if cell in PHRASES or translation in PHRASES.values():
        return PHRASES.get(cell) == translation
    surplus = numbers(translation) - numbers(cell)
    return (
        Counter(SPAN.findall(cell)) == Counter(SPAN.findall(translation))
        and not numbers(cell) - numbers(translation)
        and set(surplus) <= in_words(cell)
        and bool(cell) == bool(translation)
    )


def targets(document: Path) -> list[list[str]]:
    """Return the links of each section but the first: files as the English document would name them, and headings.

    A heading is named by its place, since each language has its own anchors.
    """
    found = []
    for section in sections(document.read_text(encoding="utf-8"))[1:]:
        table_text = "\n".join(cell for table in section.tables for row in table for cell in row)
        found.append(sorted({_place(document, link) for link in LINK.findall(section.prose + table_text)}))
    return found


def _place(document: Path, link: str) -> str:
    if link.startswith("http"):
        return link
    name, _, fragment = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    place = english_of(target) if target in CHINESE else target
    if not fragment:
        return str(place.relative_to(ROOT))
    headings = [section.heading for section in sections(target.read_text(encoding="utf-8"))]
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return f"{place.relative_to(ROOT)} {anchors.index(fragment)}"


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda path: str(path.relative_to(ROOT)))
def test_both_languages_say_the_same(chinese: Path) -> None:
    english = english_of(chinese)
    assert list(differences(english.read_text(encoding="utf-8"), chinese.read_text(encoding="utf-8"))) == []
    assert targets(english) == targets(chinese)


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_language_leads_to_the_other_and_stays_in_its_own(chinese: Path) -> None:
    english = english_of(chinese)
    for document, other in ((english, chinese), (chinese, english)):
        switch, *links = LINK.findall(document.read_text(encoding="utf-8"))
        assert (document.parent / switch).resolve() == other
        assert [link for link in links if (document.parent / link.partition("#")[0]).resolve() == other] == []
    translated = {english_of(path) for path in CHINESE}
    links = LINK.findall(chinese.read_text(encoding="utf-8"))[1:]
    assert [link for link in links if (chinese.parent / link.partition("#")[0]).resolve() in translated] == []


def promised(field: str, schema: dict[str, Any]) -> set[str]:
    """Return the limits, the values and the default that the code has for a field, as a document writes them."""
    limits = [schema[name] for name in ("minimum", "maximum", "maxLength") if name in schema]
    told = [limit for limit in limits if abs(limit) < INT64_AND_MORE] + schema.get("enum", [])
    default = schema.get("default", "")
    if default != "" and field != "seed":  # its 0 stands for a drawn one
        told.append(default)
    return {str(value) for value in told}


@pytest.mark.parametrize("page", ["docs/api.md", "docs/zh/api.md"])
@pytest.mark.parametrize(
    ("route", "request_type"),
    [
        ("/api/ai/upscale", UpscaleRequest),
        ("/api/ai/interpo", InterpoRequest),
        ("/api/ai/facefusion", FaceFusionRequest),
        ("/api/ai/creation", CreationRequest),
    ],
)
def test_the_contract_documents_every_field_with_its_default_and_limits(
    page: str, route: str, request_type: type[TaskRequest]
) -> None:
    [section] = [s for s in sections((ROOT / page).read_text(encoding="utf-8")) if route in ROUTE.findall(s.heading)]
    rows = {field: row for row in section.tables[0][1:] for field in SPAN.findall(row[0])}
    assert sorted(rows) == sorted(request_type.model_fields)
    for field, schema in request_type.model_json_schema()["properties"].items():
        text = " | ".join(rows[field][1:])
        if not text.startswith(("as above", PHRASES["as above"])):
            assert promised(field, schema) <= set(numbers(text)) | set(SPAN.findall(text)), field


PAGE = """# Page
Takes 64 KB and three frames.

## POST /api/ai/upscale
| field | meaning | not given |
|---|---|---|
| `ratio` | 1 to 4, see `width` | rejected |
| `size` | `a|b` | 2,000 |

```sh
make demo   # shows it on port 5000
```
"""
TRANSLATED = """# 页面
最多 64 KB，3 帧。

## POST /api/ai/upscale（放大）
| 字段 | 含义 | 未传时 |
|---|---|---|
| `ratio` | 1 到 4，见 `width` | 拒绝 |
| `size` | `a|b` | 2000 |

```sh
make demo   # 在端口 5000 展示
```
"""


def test_a_translation_may_use_its_own_words() -> None:
    assert list(differences(PAGE, TRANSLATED)) == []


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("64 KB", "32 KB"),
        ("，3 帧", "，4 帧"),
        ("`ratio`", "`rate`"),
        ("1 到 4", "1 到 8"),
        ("`width`", "`height`"),
        ("拒绝", "2"),
        ("2000", "200"),
        ("make demo", "make serve"),
        ("端口 5000", "端口 8088"),
        ("```sh", "```json"),
        ("/api/ai/upscale", "/api/ai/interpo"),
        ("## POST", "### POST"),
        ("| `size` | `a|b` | 2000 |\n", ""),
    ],
)
def test_another_field_default_limit_or_command_is_found(said: str, instead: str) -> None:
    assert said in TRANSLATED
    assert len(list(differences(PAGE, TRANSLATED.replace(said, instead, 1)))) == 1
