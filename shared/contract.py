"""The wire: what callers send, what they get back, and what a value on the wire means.

A request is a pydantic model whose fields carry one wire type each: `Whole`, `Number`, `Choice`, `Text`, `LocalPath`.
Its validation either returns a model or raises `Rejected` with one sentence that names the field and the allowed
values, never a pydantic error. Dumping a request as JSON and validating the dump gives the same request back: the
queue relies on it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from shared.errors import Rejected
from shared.settings import ServiceName
from shared.wire import INT64, read_number, read_text, read_whole, shown

TaskKind = Literal["generate", "preview"]
TaskState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
CallbackState = Literal["none", "pending", "delivered", "parked"]
TASK_STATES: tuple[TaskState, ...] = get_args(TaskState)


class Sent(BaseModel):
    """Something that goes out: every key is always present."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Answer(Sent):
    """The immediate answer of every endpoint: exactly these two keys."""

    model_config = ConfigDict(extra="forbid")

    err_code: Literal[0, -1] = 0
    err_msg: str = ""

    @classmethod
    def refused(cls, sentence: str) -> Self:
        return cls(err_code=-1, err_msg=sentence)


class Callback(Sent):
    """What the backend is told when a task has ended: exactly these six keys."""

    model_config = ConfigDict(extra="forbid")

    task_id: int
    preview_image: str = ""
    reference_images: list[str] = []
    video_url: str = ""
    err_code: Literal[0, -1] = 0
    err_msg: str = ""


class CallbackView(Sent):
    """How far the delivery of a task's callback has come."""

    state: CallbackState = "none"
    attempts: int = 0
    next_at: datetime | None = None


class TaskView(Sent):
    """One run of one task, as `GET /api/ai/tasks` shows it; what is not known is null."""

    id: str
    service: ServiceName
    kind: TaskKind = "generate"
    task_id: int
    state: TaskState
    progress: float = 0.0
    queue_position: int | None = None
    eta_seconds: float | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    result: Callback | None = None
    callback: CallbackView = CallbackView()
    details: dict[str, Any] = {}


class TaskList(Sent):
    """Newest first."""

    tasks: list[TaskView]


@dataclass(frozen=True)
class Wire(ABC):
    """What one field accepts. Stands in `Annotated[...]`; reads a JSON value or rejects it with one sentence."""

    @abstractmethod
    def read(self, field: str, value: object) -> object:
        """Return the value in the field's own type or raise Rejected."""

    @abstractmethod
    def missing(self, field: str) -> Rejected:
        """Say that a required field was not given, and what it may hold."""

    @abstractmethod
    def schema(self) -> JsonSchemaValue:
        """Return the documented JSON schema: the plain type, not the leniency of `read`."""

    def not_given(self, value: object) -> bool:
        """Tell Go's zero values from real ones: 0 counts as given only where the field documents a 0."""
        if value is None or value == "":
            return True
        if isinstance(value, str) and self.schema()["type"] == "string":
            return False
        return read_number(value) == 0 and not self.documents_zero()

    def documents_zero(self) -> bool:
        return False

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object, info: ValidationInfo) -> object:
            return self.read(info.field_name or "", value)

        return core_schema.with_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.schema()


@dataclass(frozen=True)
class Whole(Wire):
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
class Number(Wire):
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
class Choice(Wire):
    """One of a few documented values, all whole numbers or all words."""

    allowed: tuple[int, ...] | tuple[str, ...]

    def __init__(self, *allowed: int | str) -> None:
        object.__setattr__(self, "allowed", allowed)

    def read(self, field: str, value: object) -> int | str:
        choice = value if isinstance(self.allowed[0], str) else read_whole(value)
        if not isinstance(choice, int | str) or choice not in self.allowed:
            raise Rejected("choice_refused", field=field, allowed=self._listed(), value=shown(value))
        return choice

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
class Text(Wire):
    """Words of at most `limit` characters."""

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
class LocalPath(Wire):
    """An absolute local path or a file URL; where it may lead is checked by `shared.paths`, not here."""

    def read(self, field: str, value: object) -> str:
        return read_text(field, value)

    def missing(self, field: str) -> Rejected:
        return Rejected("path_missing", field=field)

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "description": "absolute local path"}


@dataclass(frozen=True, init=False)
class UsedWhen:
    """Mark a field that counts only while another field holds one of `values`; else it is ignored, whatever it holds.

    The field needs a default, which it has while unused. With `required` it must be given while used.
    """

    field: str
    values: tuple[int | str, ...]
    required: bool

    def __init__(self, field: str, *values: int | str, required: bool = False) -> None:
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "required", required)


class TaskRequest(BaseModel):
    """What every task has. A service's request adds its own fields, in the order in which they should be checked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: Annotated[int, Whole(low=1)]
    dist_dir: Annotated[str, LocalPath()]

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Drop what was not given or is not used, then let each wire type read its own field."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise Rejected("body_not_an_object")
        try:
            return handler(cls._given(data))
        except ValidationError as error:  # a field with a type of pydantic's own
            first = error.errors(include_url=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise Rejected("field_refused", field=field, reason=first["msg"]) from error

    @classmethod
    def _given(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            wire = next((item for item in field.metadata if isinstance(item, Wire)), None)
            condition = next((item for item in field.metadata if isinstance(item, UsedWhen)), None)
            used = condition is None or cls._holds(condition, data)
            value = data.get(name)
            if used and not (value is None if wire is None else wire.not_given(value)):
                given[name] = value
            elif wire and (field.is_required() or (used and condition is not None and condition.required)):
                raise wire.missing(name)
        return given

    @classmethod
    def _holds(cls, condition: UsedWhen, data: Mapping[str, Any]) -> bool:
        """Tell whether the deciding field has one of the values; while it is wrong itself, nothing depends on it."""
        field = cls.model_fields[condition.field]
        wire = next(item for item in field.metadata if isinstance(item, Wire))
        sent = data.get(condition.field)
        try:
            value = field.default if wire.not_given(sent) else wire.read(condition.field, sent)
        except Rejected:
            return False
        return value in condition.values
