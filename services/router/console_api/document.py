"""The console's part of the OpenAPI document: every endpoint with its parameters, its answers and their statuses."""

from collections.abc import Iterable, Mapping

from services.router.console_api.document_models import MODELS
from services.router.console_api.guard import CSRF_HEADER, ROOT
from services.router.console_api.sessions import COOKIE
from shared.http.openapi import PROXY_STATUSES, Document, json_content
from shared.settings import Settings
from shared.vocabulary import SERVICES, TASK_KINDS, TASK_STATES

STATUSES = PROXY_STATUSES | {
    "400": "a parameter or a body that the endpoint does not take; what is not HTTP",
    "401": "no living session, or a wrong token",
    "403": "a host, an origin or a folder that is closed, a missing CSRF token, uploads that are turned off",
    "404": "no such path, task, folder or file",
    "408": "the header came too slowly, or an upload fell silent",
    "413": "the body is too long, or the file larger than KINORA_UPLOAD_MAX_MB",
    "415": "the file is no video and no picture that can be read",
    "416": "the range lies behind the end of the file",
    "429": "too many at once: ask again after Retry-After",
    "507": "the disk is full, or would be",
}
_SCHEME = "session"  # by which an endpoint is opened
_ALWAYS = ("400", "401", "403", "404", "405", "408", "503")
_DONE = {
    "200": "done",
    "201": "stored",
    "204": "ended",
    "206": "the range",
    "304": "what the caller has, by its If-None-Match",
}
_OF_SERVICES = ("413", "415", "502", "504")  # whoever asks a service
_OF_FILES = ("415", "429")  # whoever has a file looked at


def describe_console(settings: Settings) -> Document:
    """Describe the endpoints under `/api/console`; none where `KINORA_CONSOLE` is false."""
    if not settings.console.enabled:
        return {"paths": {}, "components": {"schemas": {}}}
    endpoints = _session() | _tasks() | _files() | _system()
    scheme = {"type": "apiKey", "in": "cookie", "name": COOKIE}
    return {
        "paths": {f"{ROOT}/{path}": operations for path, operations in endpoints.items()},
        "components": {"schemas": MODELS, "securitySchemes": {_SCHEME: scheme}},
    }


def _session() -> Document:
    session = json_content("ConsoleSession")
    begin = _operation(
        "begin a session; the cookie comes with the answer", {"200": session}, more=("413", "429", "504")
    )
    begin |= {"requestBody": {"required": False, "content": json_content("ConsoleToken")}, "security": []}
    end = _changing("end the session", {"204": {}}, more=())
    return {"session": {"get": _operation("the living session", {"200": session}), "post": begin, "delete": end}}


def _tasks() -> Document:
    service, kind = _query("service", enum=list(SERVICES)), _query("kind", enum=list(TASK_KINDS))
    run = _query("id", type="string", format="uuid", description="of a run; without it the newest")
    task_id = _in_path("task_id", type="integer", minimum=1)
    filters = [
        service,
        kind,
        _query("state", enum=list(TASK_STATES)),
        _query("task_id", type="integer", minimum=1),
        _query("q", type="string", maxLength=200, description="a beginning of a task_id, or part of a file name"),
        _query("before", type="string", description="`next` of the page before"),
        _query("limit", type="integer", minimum=1, maximum=200, default=50),
    ]
    which, named = [task_id, service, kind, run], [task_id, _required(service), kind, run]
    answer = {"200": json_content("Answer")}
    submit = _changing("what POST /api/ai/{service} does", answer, [_in_path("service", enum=list(SERVICES))])
    submit["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "tasks": {
            "get": _operation("tasks, newest first", {"200": json_content("ConsoleTaskPage")}, filters, _OF_SERVICES)
        },
        "tasks/{task_id}": {
            "get": _operation("everything about a task", {"200": json_content("ConsoleTasks")}, which, _OF_SERVICES)
        },
        "tasks/{task_id}/cancel": {"post": _changing("cancel a task", answer, which)},
        "tasks/{task_id}/again": {"post": _changing("post a stored request once more", answer, named)},
        "tasks/{task_id}/replay": {"post": _changing("send a run's newest callback once more", answer, named)},
        "submit/{service}": {"post": submit},
        "document": {"get": _operation("this document", {"200": json_content("ConsoleDocument")}, more=_OF_SERVICES)},
        "events": {"get": _operation("changes of tasks as server-sent events", {"200": _bytes("text/event-stream")})},
    }


def _files() -> Document:
    path, folder = _required(_query("path", type="string")), _query("folder", type="string")
    listing = [
        folder,
        _query("q", type="string", maxLength=200, description="part of a name: searches downwards"),
        _query("after", type="string", description="`next` of the page before"),
        _query("limit", type="integer", minimum=1, maximum=500, default=200),
    ]
    checked, size = {"200": json_content("Answer")}, _query("bytes", type="integer", minimum=0)
    listed = {"200": json_content("ConsoleRoots", "ConsoleFolder")}
    target = [_required(folder), _required(_query("name", type="string", maxLength=200))]
    upload = _changing(
        "store a file under a free name, never over another", {"201": json_content("ConsoleEntry")}, target,
        ("413", "415", "429", "507"),
    )  # fmt: skip
    upload["requestBody"] = {"required": True, "content": _bytes("application/octet-stream")}
    part = [path, _query("download", type="string"), {"name": "Range", "in": "header", "schema": {"type": "string"}}]
    media = {"200": _bytes("*/*"), "206": _bytes("*/*"), "304": {}}
    picture = [
        path,
        _query("width", type="integer", minimum=16, maximum=1920, default=320),
        _query("at", type="number", minimum=0, maximum=86400, description="seconds"),
        _query("frame", type="integer", minimum=0, description="0-based"),
    ]
    thumbnail = {"200": _bytes("image/jpeg"), "304": {}}
    return {
        "files": {"get": _operation("the media roots, or a folder in them", listed, listing), "post": upload},
        "upload": {"get": _operation("whether a file would be taken", checked, [*target, size], ("413", "507"))},
        "info": {
            "get": _operation("what a file's header says", {"200": json_content("ConsoleInfo")}, [path], _OF_FILES)
        },
        "media": {"get": _operation("a file, or a range of its bytes", media, part, ("416",))},
        "thumbnail": {"get": _operation("a picture of a file", thumbnail, picture, _OF_FILES)},
    }


def _system() -> Document:
    found = {"200": json_content("ConsoleFindings")}
    return {
        "system": {"get": _operation("services, queues, machines, weights", {"200": json_content("ConsoleSystem")})},
        "doctor": {"get": _operation("what `kinora doctor` finds on the router's machine", found, more=("504",))},
    }


def _operation(
    summary: str, answers: Mapping[str, Document], parameters: Iterable[Document] = (), more: Iterable[str] = ()
) -> Document:
    """Describe an operation by the contents of its answers, and by the statuses that it has beside everybody's."""
    found = {status: {"description": _DONE[status], "content": content} for status, content in answers.items()}
    for status in sorted({*_ALWAYS, *more}):
        found[status] = {"description": STATUSES[status], "content": json_content("Answer")}
    return {"summary": summary, "parameters": list(parameters), "responses": found, "security": [{_SCHEME: []}]}


def _changing(
    summary: str,
    answers: Mapping[str, Document],
    parameters: Iterable[Document] = (),
    more: Iterable[str] = _OF_SERVICES,
) -> Document:
    """Describe what changes something: it needs the session's CSRF token as well."""
    csrf = {"name": CSRF_HEADER, "in": "header", "required": True, "schema": {"type": "string"}}
    return _operation(summary, answers, [*parameters, csrf], more)


def _query(name: str, /, *, description: str = "", **schema: object) -> Document:
    return {"name": name, "in": "query", "schema": schema} | ({"description": description} if description else {})


def _in_path(name: str, /, **schema: object) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _required(parameter: Document) -> Document:
    return {**parameter, "required": True}


def _bytes(media_type: str) -> Document:
    return {media_type: {"schema": {}}}
