"""The console's part of the OpenAPI document: every endpoint is in it, and answers as it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.routing import Route

from services.router.console_api.document import describe_console
from services.router.console_api.front import ConsoleFront
from services.router.console_api.guard import CSRF_HEADER, ROOT
from services.router.console_api.sessions import COOKIE
from services.router.proxy import Proxy
from shared.settings import ConsoleSettings, Settings
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from shared.vocabulary import SERVICES
from tests.support.console import SESSION, serving_console

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# The one never ends, the other takes seconds; a session that was ended would make every other answer a 401.
NOT_ASKED = {("GET", f"{ROOT}/events"), ("GET", f"{ROOT}/doctor"), ("DELETE", SESSION)}
DESCRIBED = {
    (method.upper(), path): operation
    for path, operations in describe_console(Settings())["paths"].items()
    for method, operation in operations.items()
}


def test_every_endpoint_is_described_and_every_description_is_of_an_endpoint(tmp_path: Path) -> None:
    front = ConsoleFront(Starlette(), Settings(state_dir=tmp_path, media_roots=(tmp_path,)), Proxy(lambda _: {}))
    served = {
        (method, route.path)
        for route in front.routes
        if isinstance(route, Route) and route.path.startswith(ROOT)
        for method in route.methods or ()
    }
    assert {(method, path) for method, path in served if method != "HEAD"} == DESCRIBED.keys()


def test_every_operation_says_what_it_does_who_may_and_what_it_refuses() -> None:
    for (method, path), operation in DESCRIBED.items():
        assert operation["summary"]
        assert {"400", "401", "403", "404", "405", "408", "503"} <= operation["responses"].keys(), path
        assert all(answer["description"] for answer in operation["responses"].values())
        needed = {one["name"] for one in operation["parameters"] if one.get("required") and one["in"] == "header"}
        opens_the_session = (method, path) == ("POST", SESSION)
        assert bool(operation["security"]) != opens_the_session
        assert (CSRF_HEADER in needed) == (method != "GET" and not opens_the_session)
        named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_a_console_that_is_turned_off_is_not_described(tmp_path: Path) -> None:
    off = Settings(state_dir=tmp_path, media_roots=(tmp_path,), console=ConsoleSettings(enabled=False))
    assert describe_console(off)["paths"] == {}
    with serving_console(off) as console:
        assert console.client.get(SESSION).status_code == httpx.codes.NOT_FOUND


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """A session of the real stack's console."""
    with stack.client() as client:
        client.headers[CSRF_HEADER] = client.post(SESSION, json={}).json()["csrf"]
        yield client


@pytest.fixture(scope="module")
def document(stack: Stack) -> Any:
    return schemathesis.openapi.from_url(f"{stack.url}/docs.json")


@pytest.mark.slow
def test_what_is_answered_is_what_the_document_says(
    browser: httpx.Client, receiver: Receiver, clip: Path, dist_dir: Path, task_id: int
) -> None:
    body = {"task_id": task_id, "category": 3, "video_url": str(clip), "dist_dir": str(dist_dir)}
    browser.post(f"{ROOT}/submit/creation", json=body).raise_for_status()
    receiver.wait_for(task_id, timeout_seconds=120)
    described = browser.get("/docs.json").json()
    assert browser.get(f"{ROOT}/document").json() == described
    for target, model in {
        "session": "ConsoleSession",
        "tasks": "ConsoleTaskPage",
        f"tasks/{task_id}": "ConsoleTasks",
        "files": "ConsoleRoots",
        f"files?folder={clip.parent}": "ConsoleFolder",
        f"info?path={clip}": "ConsoleInfo",
        "system": "ConsoleSystem",
    }.items():
        answer = browser.get(f"{ROOT}/{target}")
        assert answer.status_code == httpx.codes.OK, answer.text
        schema = {"$ref": f"#/components/schemas/{model}", "components": described["components"]}
        assert [f"{e.json_path} {e.message}" for e in Draft202012Validator(schema).iter_errors(answer.json())] == []
    for name in SERVICES:
        assert f"/api/ai/{name}" in described["paths"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(("method", "path"), sorted(DESCRIBED.keys() - NOT_ASKED))
def test_a_generated_request_gets_a_described_answer(
    document: Any, browser: httpx.Client, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    known = {CSRF_HEADER: browser.headers[CSRF_HEADER]}

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=document[path][method].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        response = case.call(timeout=30, headers=known, cookies={COOKIE: browser.cookies[COOKIE]})
        case.validate_response(response, checks=CHECKS)

    check()
