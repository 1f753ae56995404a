"""A field that names several files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic.json_schema import JsonSchemaValue

from shared.contract.fields import FieldType
from shared.contract.json_values import read_text, shown
from shared.errors import Rejected


@dataclass(frozen=True)
class LocalPaths(FieldType):
    """A list of at most `most` local paths, also in a string of JSON; one path alone is a list of one."""

    most: int

    def read(self, field: str, value: object) -> tuple[str, ...]:
        paths = [item for item in self._items(field, value) if item not in {None, ""}]
        if len(paths) > self.most:
            raise Rejected("paths_too_many", field=field, limit=self.most, count=len(paths))
        return tuple(read_text(f"{field}[{index}]", path) for index, path in enumerate(paths))

    def missing(self, field: str) -> Rejected:
        return Rejected("path_missing", field=field)

    def not_given(self, value: object) -> bool:
        return value in (None, "", "[]", "null", []) or (isinstance(value, list) and not any(value))

    def schema(self) -> JsonSchemaValue:
        item = {"type": "string", "description": "absolute local path"}
        return {"type": "array", "items": item, "maxItems": self.most}

    @staticmethod
    def _items(field: str, value: object) -> list[object]:
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.lstrip().startswith("[") else [value]
            except (ValueError, RecursionError):
                value = [value]
        if not isinstance(value, list | tuple) or any(isinstance(item, list | dict) for item in value):
            raise Rejected("paths_refused", field=field, value=shown(value))
        return list(value)


def named_paths(field: str, value: object) -> dict[str, str]:
    """Return the texts of a field as it is stored, each under the name that a message gives it.

    Of a list's objects these are the texts that are not empty, such as `faces[0].source_file`.
    """
    if isinstance(value, str):
        return {field: value}
    if isinstance(value, list | tuple):
        return {
            name: text for index, item in enumerate(value) for name, text in _texts(f"{field}[{index}]", item).items()
        }
    return {}


def _texts(name: str, item: object) -> dict[str, str]:
    if isinstance(item, Mapping):
        return {f"{name}.{key}": text for key, text in item.items() if isinstance(text, str) and text}
    return {name: str(item)}


def all_named_paths(fields: Mapping[str, object]) -> dict[str, str]:
    """Return the texts of all fields as `named_paths` does; which of them are paths, the caller knows."""
    return {name: text for field, value in fields.items() for name, text in named_paths(field, value).items()}


def field_of(name: str) -> str:
    """Return the field of a name that `named_paths` gave, without places: `reference_images`, `faces.source_file`."""
    return re.sub(r"\[[0-9]+\]", "", name)
