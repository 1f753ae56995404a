"""What one field of a request accepts: its type, read from JSON or refused with one sentence."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from shared.contract.json_values import INT64, read_number, read_text, read_whole, shown
from shared.errors import Rejected


@dataclass(frozen=True)
class FieldType(ABC):
    """What one field accepts. Used in `Annotated[...]`; reads a JSON value, or rejects it with one sentence."""

    @abstractmethod
    def read(self, field: str, value: object) -> object:
        """Return the value in the field's own type or raise Rejected."""

    @abstractmethod
    def missing(self, field: str) -> Rejected:
        """Return the error for a required field that was not given; it says what the field may contain."""

    @abstractmethod
    def schema(self) -> JsonSchemaValue:
        """Return the documented JSON schema: the plain type, without the other spellings that `read` accepts."""

    def not_given(self, value: object) -> bool:
        """Whether this is Go's zero value for a missing field: 0 counts as given only where the field documents a 0."""
        if value is None or value == "":
            return True
        if isinstance(value, str) and self.schema()["type"] == "string":
            return False
        return read_number(value) == 0 and not self.documents_zero()

    def documents_zero(self) -> bool:
        return False

    def accepts(self, value: object) -> bool:
        """Whether `read` takes the value."""
        try:
            self.read("", value)
        except Rejected:
            return False
        return True

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object, info: ValidationInfo) -> object:
            return self.read(info.field_name or "", value)

        return core_schema.with_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.schema()


@dataclass(frozen=True)
class Integer(FieldType):
    """A whole number from `low` to `high`, both included."""

    low: int = INT64[0]
    high: int = INT64[1]

    def read(self, field: str, value: object) -> int:
        number = read_whole(value)
        if number is None or not self.low <= number <= self.high:
            raise Rejected("whole_refused", field=field, low=self.low, high=self.high, value=shown(value))
        return number

    def missing(self, field: str) -> Rejected:
        return Rejected("whole_missing", field=field, low=self.low, high=self.high)

    def schema(self) -> JsonSchemaValue:
        return {"type": "integer", "format": "int64", "minimum": self.low, "maximum": self.high}

    def documents_zero(self) -> bool:
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Number(FieldType):
    """A finite number from `low` to `high`, both included; read as a float."""

    low: float
    high: float

    def read(self, field: str, value: object) -> float:
        number = read_number(value)
        if number is None or not self.low <= number <= self.high:
            raise Rejected("number_refused", field=field, low=self.low, high=self.high, value=shown(value))
        return number

    def missing(self, field: str) -> Rejected:
        return Rejected("number_missing", field=field, low=self.low, high=self.high)

    def schema(self) -> JsonSchemaValue:
        return {"type": "number", "minimum": self.low, "maximum": self.high}

    def documents_zero(self) -> bool:
        return self.low <= 0 <= self.high


@dataclass(frozen=True, init=False)
class Choice(FieldType):
    """One of a few documented values, all whole numbers or all words.

    Words are read in any case and width, with `_` or a space for `-`, and by their `synonyms`. Those in `unset` mean
    that the field was not given.
    """

    allowed: tuple[int, ...] | tuple[str, ...]
    synonyms: Mapping[str, str]
    unset: frozenset[str]

    def __init__(
        self, *allowed: int | str, synonyms: Mapping[str, str] | None = None, unset: Collection[str] = ()
    ) -> None:
        object.__setattr__(self, "allowed", allowed)
        object.__setattr__(self, "synonyms", synonyms or {})
        object.__setattr__(self, "unset", frozenset(unset))

    def read(self, field: str, value: object) -> int | str:
        choice = self._word(value) if isinstance(self.allowed[0], str) else read_whole(value)
        if not isinstance(choice, int | str) or choice not in self.allowed:
            raise Rejected("choice_refused", field=field, allowed=self._listed(), value=shown(value))
        return choice

    def not_given(self, value: object) -> bool:
        return super().not_given(value) or self._word(value) in self.unset

    def _word(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        if value in self.allowed:
            return value
        word = re.sub(r"[\s_]+", "-", unicodedata.normalize("NFKC", value).strip().casefold())
        return self.synonyms.get(word, word)

    def missing(self, field: str) -> Rejected:
        return Rejected("choice_missing", field=field, allowed=self._listed())

    def schema(self) -> JsonSchemaValue:
        kind = "string" if isinstance(self.allowed[0], str) else "integer"
        return {"type": kind, "enum": list(self.allowed)}

    def documents_zero(self) -> bool:
        return 0 in self.allowed

    def _listed(self) -> str:
        return ", ".join(str(value) for value in self.allowed)


@dataclass(frozen=True)
class Text(FieldType):
    """A text of at most `limit` characters."""

    limit: int = 2000

    def read(self, field: str, value: object) -> str:
        text = read_text(field, value)
        if len(text) > self.limit:
            raise Rejected("text_too_long", field=field, limit=self.limit, length=len(text))
        return text

    def missing(self, field: str) -> Rejected:
        return Rejected("text_missing", field=field)

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "maxLength": self.limit}


@dataclass(frozen=True)
class LocalPath(FieldType):
    """An absolute local path or a file URL; `shared.files.media_roots` checks which folder it leads to."""

    def read(self, field: str, value: object) -> str:
        return read_text(field, value)

    def missing(self, field: str) -> Rejected:
        return Rejected("path_missing", field=field)

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "description": "absolute local path"}


@dataclass(frozen=True, init=False)
class UsedWhen:
    """Mark a field that is used only while another field has one of `values`; else it is ignored, whatever its value.

    The field needs a default, which is its value while it is unused. With `required` it must be given while used.
    """

    field: str
    values: tuple[int | str, ...]
    required: bool

    def __init__(self, field: str, *values: int | str, required: bool = False) -> None:
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "required", required)


@dataclass(frozen=True, init=False)
class RequiredUnless:
    """Mark a field that must be given unless one of `others` is, which then count in its place.

    The field needs a default, which is its value while it is not given. Beside one of the others it is read only to
    name it among the ignored fields; there a value that it does not accept is as good as none.
    """

    others: tuple[str, ...]

    def __init__(self, *others: str) -> None:
        object.__setattr__(self, "others", others)
