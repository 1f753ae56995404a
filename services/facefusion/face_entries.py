"""Several people in one run: the entries of `faces`, each a source and whom it is put on.

Imports no vision library, so that the HTTP face stays small.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from pydantic.json_schema import JsonSchemaValue

from services.facefusion.literals import AGE_SYNONYMS, GENDER_SYNONYMS, UNSET, Age, Gender
from shared.contract.fields import Choice, FieldType, Integer, LocalPath, Number
from shared.contract.json_values import shown
from shared.errors import Rejected

MOST_ENTRIES = 20


@dataclass(frozen=True)
class FaceEntry:
    """One entry as it was sent; None and "" are what it leaves to the request."""

    source_file: str = ""
    reference_face_position: int | None = None
    reference_face_distance: float | None = None
    face_analyse_age: Age | Literal[""] = ""
    face_analyse_gender: Gender | Literal[""] = ""


@dataclass(frozen=True)
class SwapEntry:
    """One source and whom it is put on, with nothing left open."""

    field: str  # of its source, as a message names it
    source_file: str
    position: int  # in the gallery
    distance: float  # to the reference, matched when strictly below
    age: Age | Literal[""]
    gender: Gender | Literal[""]


ENTRY_FIELDS: Mapping[str, FieldType] = MappingProxyType(
    {
        "source_file": LocalPath(),
        "reference_face_position": Integer(low=0),
        "reference_face_distance": Number(0, 1.5),
        "face_analyse_age": Choice(*get_args(Age), synonyms=AGE_SYNONYMS, unset=UNSET),
        "face_analyse_gender": Choice(*get_args(Gender), synonyms=GENDER_SYNONYMS, unset=UNSET),
    }
)


@dataclass(frozen=True)
class FaceEntries(FieldType):
    """A list of at most `MOST_ENTRIES` objects, also in a string of JSON; one object alone is a list of one."""

    def read(self, field: str, value: object) -> tuple[FaceEntry, ...]:
        items = self._items(field, value)
        if len(items) > MOST_ENTRIES:
            raise Rejected("facefusion_entries_too_many", field=field, limit=MOST_ENTRIES, count=len(items))
        return tuple(self._entry(f"{field}[{index}]", item) for index, item in enumerate(items))

    def missing(self, field: str) -> Rejected:
        return Rejected("facefusion_entries_refused", field=field, value="null")

    def not_given(self, value: object) -> bool:
        return value in (None, "", "[]", "null", [])

    def schema(self) -> JsonSchemaValue:
        properties = {name: wire.schema() for name, wire in ENTRY_FIELDS.items()}
        item = {"type": "object", "properties": properties, "additionalProperties": False}
        return {"type": "array", "items": item, "maxItems": MOST_ENTRIES}

    @staticmethod
    def _items(field: str, value: object) -> list[object]:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise Rejected("facefusion_entries_refused", field=field, value=shown(value)) from error
        if isinstance(value, Mapping):
            return [value]
        if not isinstance(value, list | tuple):
            raise Rejected("facefusion_entries_refused", field=field, value=shown(value))
        return list(value)

    @staticmethod
    def _entry(field: str, item: object) -> FaceEntry:
        if isinstance(item, FaceEntry):
            return item
        if not isinstance(item, Mapping):
            raise Rejected("facefusion_entry_refused", field=field, value=shown(item))
        unknown = next((str(name) for name in item if name not in ENTRY_FIELDS), None)
        if unknown is not None:
            raise Rejected(
                "facefusion_entry_unknown", field=field, name=shown(unknown), allowed=", ".join(ENTRY_FIELDS)
            )
        given: dict[str, Any] = {
            name: wire.read(f"{field}.{name}", item[name])
            for name, wire in ENTRY_FIELDS.items()
            if name in item and not wire.not_given(item[name])
        }
        return FaceEntry(**given)
