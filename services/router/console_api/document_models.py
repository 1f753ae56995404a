"""What the console's endpoints answer, as schemas of the OpenAPI document; docs/console.md says what they mean."""

from shared.http.openapi import Document
from shared.vocabulary import CALLBACK_STATES, LANGUAGES, SERVICES, TASK_STATES

_TEXT: Document = {"type": "string"}
_WHOLE: Document = {"type": "integer"}
_NUMBER: Document = {"type": "number"}
_FLAG: Document = {"type": "boolean"}
_OBJECT: Document = {"type": "object"}
_MOMENT: Document = {"type": "string", "format": "date-time"}
_SERVICE: Document = {"enum": list(SERVICES)}


def _object(**properties: Document) -> Document:
    """Return an object that has all of these, and perhaps more in a later release."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Document) -> Document:
    return {"type": "array", "items": items}


def _known(schema: Document) -> Document:
    """Return what is null while it is not known."""
    return {"anyOf": [schema, {"type": "null"}]}


def _model(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


_UNREACHABLE = _list(_SERVICE)
_FILE = _object(field=_TEXT, path=_TEXT)
_TRY = _object(
    at=_MOMENT, outcome={"enum": ["delivered", "refused", "unreachable"]}, status=_known(_WHOLE), error=_TEXT,
    seconds=_NUMBER,
)  # fmt: skip
_CALLBACK = _object(
    id=_TEXT, state={"enum": list(CALLBACK_STATES)}, created_at=_MOMENT, next_at=_known(_MOMENT),
    delivered_at=_known(_MOMENT), attempts=_WHOLE, last_error=_known(_TEXT), body=_TEXT, tries=_list(_TRY),
)  # fmt: skip
_SEGMENT = _object(
    number=_WHOLE, total=_known(_WHOLE), state=_TEXT, attempt=_WHOLE, begun=_WHOLE, crashes=_WHOLE, made_by=_TEXT,
    helper=_FLAG, begun_at=_known(_MOMENT), done_at=_known(_MOMENT), bytes=_known(_WHOLE), frames=_known(_WHOLE),
    seconds=_known(_NUMBER),
)  # fmt: skip
_RUN = _object(
    id=_TEXT, state={"enum": list(TASK_STATES)}, created_at=_MOMENT, started_at=_known(_MOMENT),
    finished_at=_known(_MOMENT), attempt=_WHOLE, err_msg=_TEXT,
)  # fmt: skip
_VERSION = _object(
    url=_TEXT, weight=_NUMBER, problem=_TEXT, version=_known(_TEXT), ready=_FLAG, runners=_list(_OBJECT),
    queues=_list(_OBJECT), running=_list(_OBJECT), callbacks=_list(_OBJECT), gpus=_list(_OBJECT), disks=_list(_OBJECT),
)  # fmt: skip
_WEIGHTS = _object(
    name=_TEXT, purpose=_TEXT, licence=_TEXT, commercial=_FLAG, needs_consent=_FLAG, default=_FLAG, installed=_FLAG,
    bytes=_WHOLE,
)  # fmt: skip

MODELS: Document = {
    "ConsoleToken": {"type": "object", "properties": {"token": _TEXT}},
    "ConsoleSession": _object(
        csrf=_TEXT, expires_at=_MOMENT, language={"enum": list(LANGUAGES)}, version=_TEXT, token_needed=_FLAG
    ),
    "ConsoleRow": {
        "allOf": [
            _model("TaskView"),
            _object(
                task_id_text=_TEXT, request=_OBJECT, inputs=_list(_FILE), results=_list(_FILE), thumbnail=_known(_TEXT),
                version=_TEXT, cancel=_FLAG,
            ),
        ]
    },
    "ConsoleTask": {
        "allOf": [
            _model("ConsoleRow"),
            _object(
                crashes=_WHOLE, runs_on=_known(_TEXT), resumed_at=_known(_MOMENT), beat_at=_known(_MOMENT),
                segments=_list(_SEGMENT), runs=_list(_RUN), callbacks=_list(_CALLBACK),
            ),
        ]
    },
    "ConsoleTaskPage": _object(rows=_list(_model("ConsoleRow")), next=_known(_TEXT), unreachable=_UNREACHABLE),
    "ConsoleTasks": _object(tasks=_list(_model("ConsoleTask")), unreachable=_UNREACHABLE),
    "ConsoleDocument": _object(openapi=_TEXT, paths=_OBJECT, components=_OBJECT),
    "ConsoleEntry": _object(
        name=_TEXT, path=_TEXT, kind={"enum": ["folder", "video", "picture", "other"]}, bytes=_WHOLE, modified=_MOMENT
    ),
    "ConsoleRoots": _object(
        roots=_list(_object(name=_TEXT, path=_TEXT, free_bytes=_WHOLE, total_bytes=_WHOLE, writable=_FLAG)),
        upload_limit_bytes=_WHOLE,
    ),
    "ConsoleFolder": _object(
        folder=_TEXT, parent=_known(_TEXT), entries=_list(_model("ConsoleEntry")), next=_known(_TEXT), truncated=_FLAG
    ),
    "ConsoleInfo": _object(
        kind={"enum": ["video", "image"]}, width=_WHOLE, height=_WHOLE, bit_depth=_WHOLE, rotation=_WHOLE,
        mirrored=_FLAG, frame_rate=_known(_TEXT), frame_count=_known(_WHOLE), duration_seconds=_known(_NUMBER),
        has_audio=_FLAG, bytes=_WHOLE, modified=_MOMENT, type=_known(_TEXT),
    ),
    "ConsoleSystem": _object(
        version=_TEXT, language={"enum": list(LANGUAGES)}, host=_TEXT, port=_WHOLE, token=_FLAG, device=_TEXT,
        services=_list(
            _object(service=_SERVICE, reachable=_FLAG, ready=_FLAG, problem=_TEXT, versions=_list(_VERSION))
        ),
        safety=_object(visible_label=_FLAG, content_producer=_TEXT, nsfw_check=_FLAG, nsfw_threshold=_NUMBER),
        weights=_list(_WEIGHTS),
    ),
    "ConsoleFindings": _object(
        at=_MOMENT, ok=_FLAG,
        findings=_list(_object(subject=_TEXT, level={"enum": ["ok", "warning", "broken"]}, sentence=_TEXT)),
    ),
}  # fmt: skip
