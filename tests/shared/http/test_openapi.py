"""The OpenAPI document: true to the contract, and the services true to it under generated requests."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.creation.request import CreationRequest
from services.facefusion.request import FaceFusionRequest
from shared.http.openapi import describe
from shared.testing.stack import Stack
from shared.vocabulary import SERVICES

# The rest of its checks ask for 4xx where the contract answers 200 and err_code -1.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


CONSOLE = "/api/console/"  # true statuses of its own: tests/services/router/test_document.py
OPERATIONS = [
    *(("POST", f"/api/ai/{service}") for service in SERVICES),
    ("GET", "/api/ai/tasks"),
    ("GET", "/api/ai/tasks/{task_id}"),
    ("POST", "/api/ai/tasks/{task_id}/cancel"),
]


@pytest.fixture(scope="module")
def document(stack: Stack) -> Any:
    return schemathesis.openapi.from_url(f"{stack.url}/docs.json")


def fields_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of a documented body."""
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return document["components"]["schemas"][body["$ref"].rpartition("/")[2]]  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_generated_request_gets_a_documented_answer(
    document: Any, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=document[path][method].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        response = case.call(timeout=30)
        case.validate_response(response, checks=CHECKS)
        content = response.json()
        assert list(content) in (["err_code", "err_msg"], ["tasks"])
        if "err_code" in content:
            assert (content["err_code"] == 0) == (content["err_msg"] == "")

    check()


def test_the_document_shows_the_documented_posts_with_their_fields(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    fields = fields_of(document, "/api/ai/upscale")
    assert set(fields["required"]) == {"task_id", "video_url", "ratio", "dist_dir"}
    assert fields["properties"]["ratio"]["enum"] == [1, 2, 3, 4]
    assert fields["properties"]["task_id"]["maximum"] == 2**63 - 1


def test_what_was_added_is_documented_and_required_of_nobody(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    interpo, upscale = (fields_of(document, f"/api/ai/{service}") for service in ("interpo", "upscale"))
    assert set(interpo["required"]) == {"task_id", "video_url", "rate", "dist_dir"}
    added = [interpo["properties"]["fps"], upscale["properties"]["width"], upscale["properties"]["height"]]
    assert [field["type"] for field in added] == ["string", "integer", "integer"]
    assert all(field["description"].startswith("in place of ra") for field in added)
    assert not any(field.get("default") for field in added)


def test_every_running_service_is_in_the_document(client: httpx.Client) -> None:
    paths = client.get("/docs.json").json()["paths"]
    assert {f"/api/ai/{name}" for name in ("creation", "facefusion", "interpo", "upscale")} <= set(paths)
    assert {"/api/ai/tasks", "/api/ai/tasks/{task_id}", "/api/ai/tasks/{task_id}/cancel"} <= set(paths)


def test_every_status_beside_200_is_in_the_document(client: httpx.Client) -> None:
    """`docs/api.md` lists the same; what answers them is tested with the middleware, the guard and the router."""
    paths = client.get("/docs.json").json()["paths"]
    promised = {"200", "400", "401", "403", "404", "405", "408", "413", "415", "502", "503", "504"}
    contract = {path: methods for path, methods in paths.items() if not path.startswith(CONSOLE)}
    assert contract.keys() >= {path for _, path in OPERATIONS}
    for path, method in ((path, method) for path, methods in contract.items() for method in methods):
        assert set(paths[path][method]["responses"]) == promised, (path, method)


def test_inputs_may_be_urls_only_where_that_is_switched_on_and_the_folder_never() -> None:
    for fetches in (False, True):
        document = describe({"/x": FaceFusionRequest, "/y": CreationRequest}, fetches=fetches)
        for schema in (fields_of(document, "/x"), fields_of(document, "/y")):
            fields = {"source_file", "target_file", "image_url", "video_url", "last_image_url"} & set(
                schema["properties"]
            )
            for field in fields:
                assert ("KINORA_FETCH_HOSTS" in schema["properties"][field]["description"]) is fetches
            assert schema["properties"]["dist_dir"]["description"] == "absolute local path"
