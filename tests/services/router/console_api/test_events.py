"""Changes reach a page within a second, and only changes; no stream outlives its use."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse

from services.router.console_api import events
from shared.settings import Settings
from tests.support.asgi_server import serving
from tests.support.console import Console, serving_console
from tests.support.fake_upstream import Far, refused, task


@pytest.fixture
def far() -> Far:
    return Far("upscale", [task("upscale", 1, 1), task("upscale", 2, 2)])


@pytest.fixture
def console(far: Far, tmp_path: Path) -> Iterator[Console]:
    settings = Settings(state_dir=tmp_path, media_roots=(tmp_path,))
    with serving(far.app) as url, serving_console(settings, {"upscale": url}) as console:
        console.sign_in()
        yield console


@contextmanager
def listening(console: Console) -> Iterator[Iterator[tuple[str, Any]]]:
    with console.client.stream("GET", "/api/console/events", timeout=10) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield told(answer)


def told(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
        elif line.startswith(":"):
            yield "comment", line


def test_first_hello_then_all_that_is_active_then_only_what_has_changed(console: Console, far: Far) -> None:
    with listening(console) as said:
        assert next(said)[0] == "hello"
        name, data = next(said)
        assert (name, data["unreachable"]) == ("tasks", [])
        assert {row["task_id"] for row in data["rows"]} == {1, 2}
        begun = time.monotonic()
        far.tasks[0] = far.tasks[0].model_copy(update={"state": "running", "progress": 0.25})
        name, data = next(said)
        assert time.monotonic() - begun < 1.5
        assert [(row["task_id"], row["progress"]) for row in data["rows"]] == [(1, 0.25)]


def test_a_service_that_goes_and_comes_back_is_told_once_and_repeats_nothing(console: Console, far: Far) -> None:
    with listening(console) as said:
        next(said), next(said)
        well, far.answer = far.answer, JSONResponse({}, 503)
        assert next(said) == ("tasks", {"rows": [], "unreachable": ["upscale"]})
        far.answer = well
        assert next(said) == ("tasks", {"rows": [], "unreachable": []})


def test_a_time_that_only_runs_down_is_no_news() -> None:
    row = {"id": "1", "eta_seconds": 61.0, "progress": 0.5}
    assert events._news(row) == events._news(row | {"eta_seconds": 60.2})
    assert events._news(row) != events._news(row | {"eta_seconds": 30.0})
    assert events._news(row) != events._news(row | {"progress": 0.51})


def test_a_silent_stream_says_that_it_lives(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.2)
    with listening(console) as said:
        next(said), next(said)
        assert next(said)[0] == "comment"


def test_so_many_listen_and_no_more_and_who_leaves_makes_room(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_LISTENERS", 2)
    with listening(console) as first, listening(console) as second:
        next(first), next(second)
        answer = console.get("events")
        assert "listen" in refused(answer, 503)
        assert answer.headers["retry-after"]
    deadline = time.monotonic() + 10
    while True:
        with console.client.stream("GET", "/api/console/events") as answer:
            if answer.status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_stream_ends_with_its_session(console: Console) -> None:
    with listening(console) as said:
        next(said)
        assert console.client.delete("/api/console/session").status_code == 204
        assert [name for name, _ in said if name != "tasks"] == []
    refused(console.get("events"), 401)


def test_nobody_is_asked_while_nobody_listens(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    changes = Far._changes

    async def counted(self: Far, request: Any) -> Any:
        asked.append(time.monotonic())
        return await changes(self, request)

    monkeypatch.setattr(Far, "_changes", counted)
    with listening(console) as said:
        next(said), next(said)
    time.sleep(1.5)
    before = len(asked)
    time.sleep(1.2)
    assert len(asked) == before


async def test_who_takes_nothing_is_let_go_and_holds_up_nobody() -> None:
    rows = [{"id": "1", "eta_seconds": None, "n": 0}]

    async def read() -> events.Changes:
        return list(rows), []

    hub = events.EventHub(read, lambda: False)
    stream = await hub.listen(lambda: True)
    await anext(stream)
    for number in range(events._WAITING_EVENTS + 1):
        hub._tell(events.event("tasks", number))
    assert not hub._listeners
    await hub.close()
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_stop_ends_every_stream_soon() -> None:
    stopping = False

    async def read() -> events.Changes:
        return [], []

    hub = events.EventHub(read, lambda: stopping)
    stream = await hub.listen(lambda: True)
    assert b"hello" in await anext(stream)
    stopping = True
    begun = time.monotonic()
    assert [said async for said in stream] == []
    assert time.monotonic() - begun < 1.0
    await hub.close()
