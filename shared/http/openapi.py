"""The OpenAPI document of a service: the contract, without BentoML's own errors."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from shared.contract.fields import LocalPath
from shared.contract.messages import Answer, TaskList
from shared.contract.request import TaskRequest
from shared.http.task_routes import CANCEL_PATH, TASK_PATH, TASKS_PATH
from shared.vocabulary import SERVICES, TASK_KINDS, TASK_STATES

_A_PATH = str(LocalPath().schema()["description"])
OR_A_URL = ", or an http or https URL on a host of KINORA_FETCH_HOSTS"
DOCUMENT_PATH = "/docs.json"
Document = dict[str, Any]

# What a proxy must act on; every other answer of the contract has status 200.
PROXY_STATUSES = {
    "400": "what was sent is not HTTP, or names two lengths",
    "401": "no token, or a wrong one",
    "403": "a host or an origin that may not call",
    "404": "no such path, or no such task",
    "405": "another method is allowed here",
    "408": "the header came too slowly",
    "413": "the body is too long",
    "415": "the body is compressed",
    "502": "the service does not answer the router, or not as a service does",
    "503": "the storage or the service cannot be reached; send the request again",
    "504": "the service did not answer in time",
}


def describe(requests: Mapping[str, type[TaskRequest]], *, fetches: bool = False) -> Document:
    """Describe the POST paths of `requests` and the task paths; `fetches`: inputs may be URLs, too."""
    models = [*((model, "validation") for model in requests.values()), (Answer, "serialization")]
    schemas = models_json_schema([*models, (TaskList, "serialization")], ref_template="#/components/schemas/{model}")[1]  # type: ignore[list-item]
    if fetches:
        for model in requests.values():
            _offer_urls(model, schemas["$defs"][model.__name__]["properties"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kinora", "version": version("kinora")},
        "paths": {**{path: {"post": _submit(model)} for path, model in requests.items()}, **_task_paths()},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],  # asked for when KINORA_TOKEN is set
    }


def merge(documents: Iterable[Document]) -> Document:
    """Merge the documents of several services, and what a router adds to them."""
    merged = describe({})
    for found in documents:
        merged["paths"] |= found["paths"]
        for kind, components in found["components"].items():
            merged["components"].setdefault(kind, {}).update(components)
    return merged


def _offer_urls(model: type[TaskRequest], properties: Document) -> None:
    """Say of each input that it may be a URL, also of those in lists and in their objects; results go to a folder."""
    for name, field in model.model_fields.items():
        if name != "dist_dir" and any(isinstance(item, LocalPath) for item in field.metadata):
            properties[name]["description"] += OR_A_URL
        items = properties[name].get("items", {})
        for described in (items, *items.get("properties", {}).values()):
            if described.get("description") == _A_PATH:
                described["description"] += OR_A_URL


def _submit(model: type[TaskRequest]) -> Document:
    return {
        "summary": (model.__doc__ or "").strip(),
        "requestBody": {"required": True, "content": json_content(model.__name__)},
        "responses": _responses("accepted (err_code 0) or refused with a sentence (err_code -1)", "Answer"),
    }


def _task_paths() -> Document:
    service = _query("service", {"enum": list(SERVICES)})
    state = _query("state", {"enum": list(TASK_STATES)})
    limit = _query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50})
    kind = _query("kind", {"enum": list(TASK_KINDS)})
    run = _query("id", {"type": "string", "format": "uuid"})
    task_id = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
    found = _responses("the newest run of each job and preview, or a refusal of the query", "TaskList", "Answer")
    return {
        TASKS_PATH: {"get": {"parameters": [service, state, limit], "responses": found}},
        TASK_PATH: {"get": {"parameters": [task_id, service, state, limit], "responses": found}},
        CANCEL_PATH: {
            "post": {
                "parameters": [task_id, service, kind, run],
                "responses": _responses("cancelled (err_code 0) or not (err_code -1)", "Answer"),
            }
        },
    }


def _query(name: str, schema: Document) -> Document:
    return {"name": name, "in": "query", "schema": schema}


def _responses(description: str, *models: str) -> Document:
    return {
        "200": {"description": description, "content": json_content(*models)},
        **{
            status: {"description": meaning, "content": json_content("Answer")}
            for status, meaning in PROXY_STATUSES.items()
        },
    }


def json_content(*models: str) -> Document:
    """Return the content of an answer that is one of these models, as JSON."""
    references = [{"$ref": f"#/components/schemas/{model}"} for model in models]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"oneOf": references}}}
