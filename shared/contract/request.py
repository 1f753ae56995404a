"""What every task has: the base of each service's request."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from shared.contract.fields import FieldType, Integer, LocalPath, RequiredUnless, UsedWhen
from shared.errors import Rejected


class TaskRequest(BaseModel):
    """What every task has. A service's request adds its own fields, in the order in which they should be checked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: Annotated[int, Integer(low=1)]
    dist_dir: Annotated[str, LocalPath()]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Document the fields as callers must send them: what is required unless another is given is required."""
        described = handler.resolve_ref_schema(handler(schema))
        required = set(described["required"])
        for name, field in cls.model_fields.items():
            if any(isinstance(item, RequiredUnless) for item in field.metadata):
                required.add(name)
            if field.default is None or field.exclude_if:  # null is no value of its type, "" none of its pattern
                described["properties"][name].pop("default", None)
        described["required"] = [name for name in cls.model_fields if name in required]
        return described

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Drop what was not given or is not used, then let each field type read its own field."""
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
            wire = next((item for item in field.metadata if isinstance(item, FieldType)), None)
            condition = next((item for item in field.metadata if isinstance(item, UsedWhen)), None)
            replaced = next((item for item in field.metadata if isinstance(item, RequiredUnless)), None)
            used = condition is None or cls._holds(condition, data)
            value = data.get(name)
            if replaced and wire and any(cls._is_given(other, data) for other in replaced.others):
                if not wire.not_given(value) and wire.accepts(value):
                    given[name] = value
            elif used and not (value is None if wire is None else wire.not_given(value)):
                given[name] = value
            elif wire and (field.is_required() or replaced or (used and condition is not None and condition.required)):
                raise wire.missing(name)
        return given

    @classmethod
    def _is_given(cls, name: str, data: Mapping[str, Any]) -> bool:
        wire = next(item for item in cls.model_fields[name].metadata if isinstance(item, FieldType))
        return not wire.not_given(data.get(name))

    @classmethod
    def _holds(cls, condition: UsedWhen, data: Mapping[str, Any]) -> bool:
        """Whether the deciding field has one of the values; False while that field is itself invalid."""
        field = cls.model_fields[condition.field]
        wire = next(item for item in field.metadata if isinstance(item, FieldType))
        sent = data.get(condition.field)
        try:
            value = field.default if wire.not_given(sent) else wire.read(condition.field, sent)
        except Rejected:
            return False
        return value in condition.values
