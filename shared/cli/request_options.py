"""Each service's fields as options of a command, from the same models that its HTTP interface reads."""

import inspect
import mimetypes
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from shared.cli.spoken import spoken
from shared.contract.fields import FieldType, LocalPath, RequiredUnless, UsedWhen
from shared.contract.path_lists import LocalPaths
from shared.contract.request import TaskRequest
from shared.fetching.web_address import is_web_address
from shared.vocabulary import SERVICES, ServiceName

Work = Callable[[typer.Context, ServiceName, TaskRequest], None]

_GIVEN_BY_THE_COMMAND = {"task_id", "dist_dir"}
_FIELD_OF_MEDIA = {"image": "image_url", "video": "video_url"}  # creation's inputs, by the type of the file


def request_type(service: ServiceName) -> type[TaskRequest]:
    """Return the model of a service's requests: the one class of its `request.py` that is a TaskRequest."""
    module = import_module(f"services.{service}.request")
    found: type[TaskRequest] = next(
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, TaskRequest) and value.__module__ == module.__name__
    )
    return found


def add_commands(app: typer.Typer, work: Work) -> None:
    """Add one command for each service that this installation has; `work` gets the request once it is valid.

    A request that is not ends the command with the sentence that the service would answer.
    """
    for service in SERVICES:
        if find_spec(f"services.{service}.request"):
            app.command(service, help=request_type(service).__doc__)(_command(service, work))


def _command(service: ServiceName, work: Work) -> Callable[..., None]:
    model = request_type(service)

    def run(
        context: typer.Context,
        files: list[str] | None,
        folder: Path | None,
        task_id: int | None,
        **fields: str | None,
    ) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        body = with_files(model, files or [], {name: _absolute(model, name, value) for name, value in given.items()})
        body |= {"task_id": task_id or new_task_id(), "dist_dir": str((folder or _beside(model, body)).resolve())}
        with spoken():
            work(context, service, model.model_validate(body))

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    signature = inspect.Signature([context, *_shared_parameters(model), *(_option(*item) for item in _fields(model))])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return run


def new_task_id() -> int:
    """Return an id that no earlier call has returned: the time in microseconds."""
    return time.time_ns() // 1000


def with_files(model: type[TaskRequest], files: Sequence[str | Path], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with the command's files in them: in the order of the fields that must name one, those that
    another given field replaces only if there is a file for each.

    Where none must, the file's type decides: creation makes a clip of a picture or of a video, and `category` follows.
    """
    body = dict(given)
    left = list(files)
    names = [name for name in _required_paths(model) if name not in body]
    if len(left) < len(names):
        names = [name for name in names if not _is_replaced(model.model_fields[name], body)]
    for name in names:
        if left:
            body[name] = _of_a_file(left.pop(0))
    if left and not _required_paths(model):
        file = left.pop(0)
        body[_field_for(file)] = _of_a_file(file)
    if left:
        raise typer.BadParameter(f"{left[0]} is one file too many")
    if "category" in model.model_fields and "category" not in body:
        body["category"] = 3 if "video_url" in body else 2 if "image_url" in body else 1
    return body


def _field_for(file: str | Path) -> str:
    name = str(file).partition("?")[0] if is_web_address(str(file)) else str(file)
    kind = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    if kind not in _FIELD_OF_MEDIA:
        raise typer.BadParameter(f"{file} is neither a picture nor a video by its name: use --image-url or --video-url")
    return _FIELD_OF_MEDIA[kind]


def _beside(model: type[TaskRequest], body: Mapping[str, Any]) -> Path:
    """Return the folder of the last input, where the result goes without --out; without an input the current one."""
    paths = [body[name] for name in model.model_fields if name in body and _is_path(model.model_fields[name])]
    return Path(paths[-1]).parent if paths and not is_web_address(paths[-1]) else Path.cwd()


def _of_a_file(file: str | Path) -> str:
    """Return what a field gets of a command's argument: an absolute path, or the URL that it is."""
    return str(file) if is_web_address(str(file)) else str(Path(file).resolve())


def _absolute(model: type[TaskRequest], name: str, value: str) -> str:
    """Return a path as an absolute one; a list of them, as JSON, is left to its caller."""
    named = _is_path(model.model_fields[name]) or (_is_paths(model.model_fields[name]) and not value.startswith("["))
    return str(Path(value).resolve()) if named and "://" not in value else value


def _fields(model: type[TaskRequest]) -> list[tuple[str, FieldInfo]]:
    return [(name, field) for name, field in model.model_fields.items() if name not in _GIVEN_BY_THE_COMMAND]


def _required_paths(model: type[TaskRequest]) -> list[str]:
    return [name for name, field in _fields(model) if _is_path(field) and _is_needed(field)]


def _is_needed(field: FieldInfo) -> bool:
    return field.is_required() or any(isinstance(item, RequiredUnless) for item in field.metadata)


def _is_replaced(field: FieldInfo, body: Mapping[str, Any]) -> bool:
    """Whether another field that is given makes this one unnecessary."""
    return any(
        isinstance(item, RequiredUnless) and any(name in body for name in item.others) for item in field.metadata
    )


def _is_path(field: FieldInfo) -> bool:
    return any(isinstance(item, LocalPath) for item in field.metadata)


def _is_paths(field: FieldInfo) -> bool:
    return any(isinstance(item, LocalPaths) for item in field.metadata)


def _shared_parameters(model: type[TaskRequest]) -> list[inspect.Parameter]:
    names = " ".join(name.upper() for name in _required_paths(model)) or "[PICTURE OR VIDEO]"
    return [
        _parameter("files", list[str] | None, typer.Argument(metavar=names, help="The media, as files.")),
        _parameter("folder", Path | None, typer.Option("--out", help="The result's folder; by default the input's.")),
        _parameter("task_id", int | None, typer.Option(min=1, help="By default one of the command's own.")),
    ]


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    return _parameter(name, str | None, typer.Option(f"--{name.replace('_', '-')}", help=_help(field)))


def _parameter(name: str, kind: Any, how: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=None, annotation=Annotated[kind, how])


def _help(field: FieldInfo) -> str:
    wire = next(item for item in field.metadata if isinstance(item, FieldType))
    schema = wire.schema()
    said = [field.description or schema.get("description", "")]
    if "enum" in schema:
        said.append(", ".join(str(value) for value in schema["enum"]))
    elif "minimum" in schema and schema["maximum"] < 2**63 - 1:
        said.append(f"{schema['minimum']} to {schema['maximum']}")
    if field.default not in {None, "", ()} and not field.is_required():
        said.append(f"by default {field.default}")
    condition = next((item for item in field.metadata if isinstance(item, UsedWhen)), None)
    if condition:
        said.append(f"with {condition.field} {' or '.join(map(str, condition.values))}")
    return "; ".join(word for word in said if word)
