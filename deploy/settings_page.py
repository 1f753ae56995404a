"""Write `docs/settings.md`: every setting with its variable, what it takes, its default and its meaning.

All of it comes from the JSON schema of the model in `shared/settings/`. `make docs` writes the page; a test holds
that it is what this would write.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.settings import Settings

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
HEADER = """<!-- Written by deploy/settings_page.py (`make docs`) from shared/settings/: do not edit. -->
# Settings

Environment variables, read once when a process starts; all are optional. `kinora doctor` says which of them is wrong
and why. `kinora serve` passes them on to the router and to every service that it starts.
"""
Schema = dict[str, Any]


def page() -> str:
    """Return the text of the page: one table for each group of settings."""
    schema = Settings.model_json_schema()
    properties: dict[str, Schema] = schema["properties"]
    groups = [schema["$defs"][inner["$ref"].rpartition("/")[2]] for inner in properties.values() if "$ref" in inner]
    return HEADER + "".join(_table(group) for group in (schema, *groups))


def _table(group: Schema) -> str:
    rows = [f"| {' | '.join(cells)} |\n" for cells in _rows(group["properties"])]
    head = "| variable | value | default | meaning |\n|---|---|---|---|\n"
    return f"\n## {group['description']}\n\n{head}{''.join(rows)}"


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
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
