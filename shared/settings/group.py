"""What a group of settings is: a frozen model whose fields carry the names of their environment variables."""

from collections.abc import Mapping

from pydantic import AliasGenerator, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

PREFIX = "KINORA_"
STANDARD = "OTEL_"  # variables that many programs read alike


def named_after(pattern: str) -> ConfigDict:
    """Return the configuration of a group whose variables follow a pattern: `KINORA_{}` makes `KINORA_CRF` of `crf`."""
    return ConfigDict(alias_generator=AliasGenerator(validation_alias=lambda field: pattern.format(field.upper())))


class Group(BaseModel):
    """Settings that belong together. A field may be another group; every other field has a variable of its own.

    The variable is the field's alias, so an error names what the user wrote. The constructor takes the field's name.
    """

    model_config = ConfigDict(
        **named_after(f"{PREFIX}{{}}"),
        frozen=True,
        extra="forbid",  # a setting that moved to another group is an error, not a default
        validate_by_alias=True,
        validate_by_name=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def groups(cls) -> dict[str, type["Group"]]:
        """Return the fields that are groups, with their classes."""
        return {
            name: type(field.default) for name, field in cls.model_fields.items() if isinstance(field.default, Group)
        }

    @classmethod
    def variables(cls) -> dict[str, FieldInfo]:
        """Return every variable with the field that it sets, those of inner groups at the end."""
        groups = cls.groups()
        own = {str(field.validation_alias): field for name, field in cls.model_fields.items() if name not in groups}
        for group in groups.values():
            own |= group.variables()
        return own

    @classmethod
    def arguments(cls, environment: Mapping[str, str]) -> dict[str, object]:
        """Return what an environment says about this group, in the shape that validation takes."""
        groups = cls.groups()
        aliases = [str(field.validation_alias) for name, field in cls.model_fields.items() if name not in groups]
        own = {alias: environment[alias] for alias in aliases if alias in environment}
        return own | {name: group.arguments(environment) for name, group in groups.items()}


def describe_errors(error: ValidationError) -> list[str]:
    """Return one sentence for each wrong setting, as in `KINORA_CRF: Input should be a valid integer`."""
    sentences = []
    for wrong in error.errors():
        variable = next((part for part in wrong["loc"] if str(part).startswith((PREFIX, STANDARD))), None)
        # A rule about several settings names them itself.
        sentences.append(f"{variable}: {wrong['msg']}" if variable else wrong["msg"].removeprefix("Value error, "))
    return sentences
