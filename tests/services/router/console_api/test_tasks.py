"""Tasks of several services in one list, and what can be done to one: as the router makes it of what services tell."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.responses import JSONResponse

from shared.settings import AccessSettings, Settings
from shared.testing.stack import free_port
from shared.vocabulary import ServiceName
from tests.support.asgi_server import serving
from tests.support.console import Console, serving_console
from tests.support.fake_upstream import ACCEPTED, Far, refused, task


@dataclass
class World:
    """Two services with tasks, one that is down, and a browser that has signed in."""

    upscale: Far
    interpo: Far
    console: Console


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("KINORA_TOKEN", "secret")
    upscale = Far("upscale", [task("upscale", number, 2 * number) for number in range(1, 13)])
    interpo = Far("interpo", [task("interpo", number, 2 * number + 1) for number in range(1, 11)])
    settings = Settings(state_dir=tmp_path, media_roots=(tmp_path,), access=AccessSettings(token=SecretStr("secret")))
    with ExitStack() as stack:
        urls: dict[ServiceName, str] = {far.name: stack.enter_context(serving(far.app)) for far in (upscale, interpo)}
        urls["creation"] = f"http://127.0.0.1:{free_port()}"
        console = stack.enter_context(serving_console(settings, urls))
        console.sign_in("secret")
        yield World(upscale, interpo, console)


def test_pages_of_all_services_are_one_list_that_misses_and_repeats_nothing(world: World) -> None:
    seen: list[tuple[str, int]] = []
    place: str | None = ""
    pages = 0
    while place is not None:
        page = world.console.get("tasks", limit=5, before=place).json()
        assert page["unreachable"] == ["creation"]
        seen += [(row["service"], row["task_id"]) for row in page["rows"]]
        place, pages = page["next"], pages + 1
    assert pages == 5
    assert len(seen) == len(set(seen)) == 22
    minutes = [2 * number + (service == "interpo") for service, number in seen]
    assert minutes == sorted(minutes, reverse=True)


def test_an_exact_last_page_has_no_next(world: World) -> None:
    page = world.console.get("tasks", limit=12, service="upscale").json()
    assert (len(page["rows"]), page["next"], page["unreachable"]) == (12, None, [])


def test_a_service_is_asked_with_the_routers_token_and_never_with_the_browsers_cookie(world: World) -> None:
    world.console.get("tasks", q="a b", kind="preview", state="failed", task_id=7, junk="x")
    query, headers, _ = world.upscale.asked[-1]
    assert query == "kind=preview&state=failed&task_id=7&q=a+b&limit=51"
    assert headers["authorization"] == "Bearer secret"
    assert "cookie" not in headers


def test_the_services_are_asked_for_sentences_in_the_language_of_the_page(world: World) -> None:
    world.console.client.headers["accept-language"] = "zh"
    post = world.console.client.post
    world.console.get("tasks")
    world.console.get("tasks/7")
    for path in ("submit/upscale", "tasks/7/cancel?service=upscale", "tasks/7/replay?service=upscale"):
        post(f"/api/console/{path}", json={})
    post("/api/console/tasks/7/again?service=upscale")
    assert len(world.upscale.asked) == 5
    assert {headers["accept-language"] for _, headers, _ in world.upscale.asked} == {"zh"}
    [away] = [one for one in world.console.get("system").json()["services"] if one["service"] == "creation"]
    assert "服务" in away["problem"]


@pytest.mark.parametrize(
    "query",
    [{"service": "x"}, {"kind": "x"}, {"state": "x"}, {"limit": 0}, {"limit": 201}, {"before": "x"},
     {"before": "2026-01-01T00:00:00,00000001-0000-4000-8000-000000000001"}, {"before": "2026-01-01T00:00:00Z,1"},
     {"q": "x" * 201}],
)  # fmt: skip
def test_a_wrong_query_is_one_sentence_before_any_service_is_asked(world: World, query: dict[str, object]) -> None:
    refused(world.console.get("tasks", **query), 400)
    assert world.upscale.asked == []


def test_one_task_is_found_wherever_it_is(world: World) -> None:
    found = world.console.get("tasks/7").json()
    assert [row["service"] for row in found["tasks"]] == ["interpo", "upscale"]
    assert found["unreachable"] == ["creation"]
    assert [row["service"] for row in world.console.get("tasks/12", service="upscale").json()["tasks"]] == ["upscale"]
    assert "no task 99" in refused(world.console.get("tasks/99", service="upscale"), 404)
    refused(world.console.get("tasks/99"), 502)  # who does not answer may know it
    refused(world.console.get("tasks/0"), 404)
    refused(world.console.get("tasks/x"), 404)
    refused(world.console.get("tasks/7", id="x"), 400)


@pytest.mark.parametrize("answer", [{"records": 1}, {"records": [7]}, {"records": [{"id": "x"}]}, {"tasks": []}, [1]])
def test_a_service_that_answers_strangely_only_makes_the_list_shorter(world: World, answer: object) -> None:
    world.upscale.told = answer
    page = world.console.get("tasks").json()
    assert page["unreachable"] == ["creation", "upscale"]
    assert {row["service"] for row in page["rows"]} == {"interpo"}


def test_a_task_is_posted_again_as_it_was_stored(world: World) -> None:
    post = world.console.client.post
    assert post("/api/console/tasks/7/again?service=upscale").json() == ACCEPTED
    path, headers, body = world.upscale.asked[-1]
    assert path == "/api/ai/upscale"
    assert headers["authorization"] == "Bearer secret"
    assert json.loads(body) == {"task_id": 7, "video_url": "/media/a.mp4", "dist_dir": "/media"}
    refused(post("/api/console/tasks/99/again?service=upscale"), 404)
    assert "service" in refused(post("/api/console/tasks/7/again"), 400)


def test_cancel_and_replay_go_to_the_service_with_what_it_has_to_know(world: World) -> None:
    run = "00000007-0000-4000-8000-000000000014"
    post = world.console.client.post
    assert post(f"/api/console/tasks/7/cancel?service=upscale&kind=generate&id={run}").json() == ACCEPTED
    assert world.upscale.asked[-1][0] == f"/api/ai/tasks/7/cancel?kind=generate&id={run}&service=upscale"
    assert post(f"/api/console/tasks/7/replay?service=interpo&id={run}").json() == ACCEPTED
    assert world.interpo.asked[-1][0] == f"/api/ai/records/7/replay?id={run}"


def test_a_submission_is_passed_on_and_its_refusal_stays_the_contracts(world: World) -> None:
    world.upscale.answer = JSONResponse({"err_code": -1, "err_msg": "ratio must be one of 1, 2, 3, 4"})
    answer = world.console.client.post("/api/console/submit/upscale", content=b'{"task_id": 9007199254740993}')
    assert refused(answer, 200) == "ratio must be one of 1, 2, 3, 4"
    assert world.upscale.asked[-1][2] == b'{"task_id": 9007199254740993}'
    refused(world.console.client.post("/api/console/submit/nowhere", content=b"{}"), 404)
    refused(world.console.client.post("/api/console/submit/creation", content=b"{}"), 502)
    refused(world.console.client.post("/api/console/submit/facefusion", content=b"{}"), 503)
    refused(world.console.client.post("/api/console/submit/upscale", content=b"x" * 70_000), 413)


def test_nothing_is_done_without_the_csrf_token(world: World) -> None:
    del world.console.client.headers["x-kinora-csrf"]
    for path in ("tasks/7/cancel", "tasks/7/again?service=upscale", "tasks/7/replay?service=upscale", "submit/upscale"):
        refused(world.console.client.post(f"/api/console/{path}", content=b"{}"), 403)
    assert world.upscale.asked == []


def test_the_document_and_the_state_of_the_system_are_told(world: World) -> None:
    assert "/api/ai/upscale" in world.console.get("document").json()["paths"]
    found = world.console.get("system").json()
    services = {service["service"]: service for service in found["services"]}
    assert services["upscale"]["ready"]
    assert services["upscale"]["versions"][0]["version"] == "1.0"
    assert not services["creation"]["reachable"]
    assert "cannot be reached" in services["creation"]["problem"]
    assert found["token"] is True
    assert {"name", "licence", "bytes", "installed"} <= found["weights"][0].keys()
    assert "secret" not in json.dumps(found)
