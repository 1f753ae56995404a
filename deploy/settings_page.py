"""Write `docs/settings.md`: every setting with its variable, what it takes, its default and its meaning.

All of it comes from the JSON schema of the model in `shared/settings/`; `docs/zh/settings.md` says the same in the
sentences of `settings_page.zh.toml`. `make docs` writes both pages; a test holds that they are what this would write.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shared.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"
CHINESE_PAGE = ROOT / "docs" / "zh" / "settings.md"
SENTENCES = Path(__file__).with_name("settings_page.zh.toml")
NOTE = "<!-- Written by deploy/settings_page.py (`make docs`) from shared/settings/: do not edit. -->\n"
HEADER = f"""{NOTE}# Settings
English · [简体中文](zh/settings.md)

Environment variables, read once when a process starts; all are optional. `kinora doctor` says which of them is wrong
and why. `kinora serve` passes them on to the router and to every service that it starts.
"""
CHINESE_HEADER = f"""{NOTE}# 设置
[English](../settings.md) · 简体中文

全部是环境变量，进程启动时读取一次，都可以不设。\
`kinora doctor` 会指出哪一个有误及其原因。`kinora serve` 会把它们传给路由器和它启动的每个服务。
"""
COLUMNS = ("variable", "value", "default", "meaning")
CHINESE_COLUMNS = ("变量", "取值", "默认值", "含义")
Schema = dict[str, Any]
Translate = Callable[[str], str]


def page() -> str:
    """Return the text of the English page: one table for each group of settings."""
    return HEADER + _tables(COLUMNS, lambda text: text)


def chinese_page() -> str:
    """Return the text of the Chinese page; what has not been translated stays English."""
    sentences = chinese_sentences()
    return CHINESE_HEADER + _tables(CHINESE_COLUMNS, lambda text: sentences.get(text, text))


def chinese_sentences() -> dict[str, str]:
    """Return the Chinese of headings, values, defaults and meanings, by their English."""
    written = tomllib.loads(SENTENCES.read_text(encoding="utf-8"))["sentence"]
    return {sentence["en"]: sentence["zh"] for sentence in written}


def english_sentences() -> set[str]:
    """Return every heading and cell of the English page that has words outside of backticks."""
    said: list[str] = []

    def listen(text: str) -> str:
        said.append(text)
        return text

    _tables(COLUMNS, listen)
    return {text for text in said if re.search(r"[A-Za-z]", re.sub(r"`[^`]*`", "", text))}


def _tables(columns: tuple[str, ...], translate: Translate) -> str:
    schema = Settings.model_json_schema()
    properties: dict[str, Schema] = schema["properties"]
    groups = [schema["$defs"][inner["$ref"].rpartition("/")[2]] for inner in properties.values() if "$ref" in inner]
    return "".join(_table(group, columns, translate) for group in (schema, *groups))


def _table(group: Schema, columns: tuple[str, ...], translate: Translate) -> str:
    rows = [f"| {' | '.join(map(translate, cells))} |\n" for cells in _rows(group["properties"])]
    head = f"| {' | '.join(columns)} |\n|---|---|---|---|\n"
    return f"\n## {translate(group['description'])}\n\n{head}{''.join(rows)}"


def _rows(properties: dict[str, Schema]) -> Iterator[tuple[str, str, str, str]]:
    for variable, schema in properties.items():
        if "$ref" not in schema:
            yield f"`{variable}`", values(schema), default(schema), schema["description"].replace("\n", " ")


def values(schema: Schema) -> str:
    """Return in words what a variable takes."""
    if "written" in schema:
        words: str = schema["written"]
        return words
    if "anyOf" in schema:  # a value or, by default, none
        [schema] = [option for option in schema["anyOf"] if option["type"] != "null"]
    match schema:
        case {"enum": options}:
            return ", ".join(f"`{option}`" for option in options)
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "integer"}:
            return f"a whole number{_bounds(schema)}"
        case {"type": "number"}:
            return f"a number{_bounds(schema)}"
        case _:
            return "text"


def _bounds(schema: Schema) -> str:
    words = {"minimum": " from", "exclusiveMinimum": " above", "maximum": " to", "exclusiveMaximum": ", below"}
    return "".join(f"{word} {schema[bound]}" for bound, word in words.items() if bound in schema)


def default(schema: Schema) -> str:
    """Return the default as it would be written in the variable, or what happens without one."""
    if "written_default" in schema:
        words: str = schema["written_default"]
        return words
    match schema["default"]:
        case None | []:
            return "none"
        case bool(value):
            return f"`{str(value).lower()}`"
        case list(parts):
            return f"`{','.join(parts)}`"
        case value:
            return f"`{value}`"


def main() -> None:
    """Write the pages."""
    PAGE.write_text(page(), encoding="utf-8")
    CHINESE_PAGE.write_text(chinese_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
