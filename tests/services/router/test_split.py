"""The router's own split: shares of tasks, a version for each task, and a fallback for what cannot be reached."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
from starlette.responses import JSONResponse

from services.router.proxy import Proxy
from services.router.split import key_of, ranked
from shared.http.middleware import ContractMiddleware
from shared.settings import Settings
from shared.testing.stack import free_port
from shared.upstreams import WeightedUpstream
from shared.vocabulary import ServiceName
from tests.support.asgi_server import serving
from tests.support.fake_upstream import ACCEPTED, Far, listed, refused, task, wait_briefly_for

TASKS = [str(number) for number in range(1, 20_001)]
A, B, C = "http://a:5003", "http://b:5003", "http://c:5003"


def chosen(*shares: WeightedUpstream, service: ServiceName = "upscale") -> dict[str, str]:
    return {key: ranked(service, key, shares)[0].url for key in TASKS}


def shares_of(choice: dict[str, str]) -> dict[str, float]:
    return {url: count / len(choice) for url, count in Counter(choice.values()).items()}


# The hash


@pytest.mark.parametrize("weights", [(90, 10), (9, 1), (50, 50), (1, 1, 1), (70, 20, 10), (999, 1)])
def test_every_version_gets_its_share_of_the_task_ids(weights: tuple[int, ...]) -> None:
    """20,000 draws: one standard deviation is at most 0.35 points, so 1.5 points are more than four of them."""
    found = shares_of(chosen(*(WeightedUpstream(url, weight) for url, weight in zip((A, B, C), weights, strict=False))))
    for url, weight in zip((A, B, C), weights, strict=False):
        assert abs(found.get(url, 0) - weight / sum(weights)) < 0.015


def test_a_changed_weight_moves_tasks_in_one_direction_and_as_few_as_the_share_needs() -> None:
    before, after = (
        chosen(WeightedUpstream(A, 90), WeightedUpstream(B, 10)),
        chosen(WeightedUpstream(A, 50), WeightedUpstream(B, 50)),
    )
    moved = {key: (before[key], after[key]) for key in TASKS if before[key] != after[key]}
    assert set(moved.values()) == {(A, B)}
    assert abs(len(moved) / len(TASKS) - 0.4) < 0.015


def test_a_version_that_leaves_takes_nothing_from_the_others() -> None:
    before, after = (
        chosen(WeightedUpstream(A, 60), WeightedUpstream(B, 30), WeightedUpstream(C, 10)),
        chosen(WeightedUpstream(A, 60), WeightedUpstream(B, 30)),
    )
    assert all(after[key] == url for key, url in before.items() if url != C)
    assert set(ranked("upscale", "7", [WeightedUpstream(A, 0), WeightedUpstream(B, 1)])[0]) == {B, 1}


def test_the_services_split_apart_from_each_other() -> None:
    """Otherwise the callers of a small canary would meet every canary at once."""
    shares = WeightedUpstream(A, 50), WeightedUpstream(B, 50)
    upscale, interpo = chosen(*shares), chosen(*shares, service="interpo")
    assert abs(sum(upscale[key] == interpo[key] for key in TASKS) / len(TASKS) - 0.5) < 0.02


@pytest.mark.parametrize("written", [b"7", b"7.0", b'"7"', b"70e-1"])
def test_a_task_is_the_same_however_its_number_is_written(written: bytes) -> None:
    assert key_of(b'{"ratio": 2, "task_id": ' + written + b"}") == "7"


@pytest.mark.parametrize("body", [b"", b"no json", b"[7]", b"{}", b'{"task_id": true}', b'{"task_id": 7.5}', b"\xff"])
def test_a_body_without_a_task_goes_somewhere_to_be_refused(body: bytes) -> None:
    assert key_of(body) == key_of(body) != key_of(body + b" ")


# The router


@dataclass
class Split:
    """Two versions of upscale behind a router."""

    client: httpx.Client
    stable: Far
    canary: Far

    def post(self, task_id: int) -> httpx.Response:
        return self.client.post("/api/ai/upscale", json={"task_id": task_id})

    @staticmethod
    def posted(far: Far) -> list[int]:
        return [json.loads(body)["task_id"] for target, _, body in far.asked if target == "/api/ai/upscale"]


@contextmanager
def router(*shares: WeightedUpstream) -> Iterator[httpx.Client]:
    app = ContractMiddleware(Proxy(lambda _settings: {"upscale": shares}).app, Settings())
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def split(request: pytest.FixtureRequest) -> Iterator[Split]:
    weights: tuple[int, int] = getattr(request, "param", (50, 50))
    stable, canary = Far("upscale"), Far("upscale")
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(far.app)) for far in (stable, canary)]
        client = stack.enter_context(router(*map(WeightedUpstream, urls, weights)))
        yield Split(client, stable, canary)


def test_a_task_keeps_its_version_however_often_it_is_sent_and_when_it_is_cancelled(split: Split) -> None:
    for task_id in [*range(1, 61)] * 2:
        assert split.post(task_id).json() == ACCEPTED
    stable, canary = Counter(split.posted(split.stable)), Counter(split.posted(split.canary))
    assert set(stable.values()) == set(canary.values()) == {2}
    assert stable.keys() & canary.keys() == set()
    assert len(stable) + len(canary) == 60
    for task_id in range(1, 61):
        split.client.post(f"/api/ai/tasks/{task_id}/cancel")
    for far, own in ((split.stable, stable), (split.canary, canary)):
        cancelled = {int(target.split("/")[4]) for target, _, _ in far.asked if target.endswith("/cancel")}
        assert cancelled == own.keys()


@pytest.mark.parametrize("split", [(0, 100)], indirect=True)
def test_a_drained_version_gets_no_new_task_but_is_asked_for_its_old_ones(split: Split) -> None:
    for task_id in range(1, 31):
        assert split.post(task_id).json() == ACCEPTED
    assert split.posted(split.stable) == []
    split.stable.tasks = [task("upscale", 99, 1)]
    assert listed(split.client.get("/api/ai/tasks")) == [("upscale", 99)]
    assert listed(split.client.get("/api/ai/tasks/99")) == [("upscale", 99)]
    split.canary.answer = JSONResponse({"err_code": -1, "err_msg": "not active"})
    assert split.client.post("/api/ai/tasks/99/cancel").json() == ACCEPTED
    assert [target for target, _, _ in split.stable.asked] == ["/api/ai/tasks/99/cancel"]


def test_a_task_that_both_versions_know_is_listed_once(split: Split) -> None:
    split.stable.tasks = [task("upscale", 7, 3), task("upscale", 1, 1)]
    split.canary.tasks = [task("upscale", 1, 4), task("upscale", 7, 3), task("upscale", 2, 2)]
    answer = split.client.get("/api/ai/tasks")
    assert listed(answer) == [("upscale", 1), ("upscale", 7), ("upscale", 2)]
    assert answer.json()["tasks"][0]["created_at"].startswith("2026-11-22T12:04")
    assert listed(split.client.get("/api/ai/tasks?limit=1")) == [("upscale", 1)]


def test_previews_of_one_task_are_not_taken_for_one(split: Split) -> None:
    previews = [task("upscale", 7, minute).model_copy(update={"kind": "preview"}) for minute in (1, 2)]
    split.stable.tasks = previews
    split.canary.tasks = [*previews, task("upscale", 7, 3)]
    assert listed(split.client.get("/api/ai/tasks/7")) == [("upscale", 7)] * 3


def test_a_refusal_of_the_tasks_own_version_is_the_answer(split: Split) -> None:
    refusal = {"err_code": -1, "err_msg": "busy"}
    split.stable.answer = split.canary.answer = JSONResponse(refusal, 503)
    assert split.post(1).json() == refusal
    assert len(split.stable.asked) + len(split.canary.asked) == 1


def test_a_cancel_that_no_version_accepts_says_why(split: Split) -> None:
    split.stable.answer = split.canary.answer = JSONResponse({"err_code": -1, "err_msg": "not active"})
    assert refused(split.client.post("/api/ai/tasks/5/cancel"), 200) == "not active"


# A version that cannot be reached


def test_tasks_of_a_version_that_is_down_go_to_the_other() -> None:
    far = Far("upscale", [task("upscale", 1, 1)])
    with (
        serving(far.app) as url,
        router(WeightedUpstream(url, 10), WeightedUpstream(f"http://127.0.0.1:{free_port()}", 90)) as client,
    ):
        for task_id in range(1, 41):
            assert client.post("/api/ai/upscale", json={"task_id": task_id}).json() == ACCEPTED
        assert len(far.asked) == 40
        assert listed(client.get("/api/ai/tasks")) == [("upscale", 1)]
        assert "/api/ai/upscale" in client.get("/docs.json").json()["paths"]
        assert client.post("/api/ai/tasks/3/cancel").json() == ACCEPTED


def test_no_task_goes_to_a_drained_version_only_because_the_others_are_down() -> None:
    far = Far("upscale")
    with (
        serving(far.app) as url,
        router(WeightedUpstream(url, 0), WeightedUpstream(f"http://127.0.0.1:{free_port()}", 1)) as client,
    ):
        sentence = refused(client.post("/api/ai/upscale", json={"task_id": 1}), 502)
        assert sentence == "the service upscale cannot be reached"
        assert far.asked == []


def test_one_stand_in_is_tried_and_no_more() -> None:
    far = Far("upscale")
    with serving(far.app) as url:
        dead = [WeightedUpstream(f"http://127.0.0.1:{free_port()}", 1) for _ in range(2)]
        with router(WeightedUpstream(url, 1), *dead) as client:
            answers = [client.post("/api/ai/upscale", json={"task_id": number}) for number in range(1, 61)]
    refusals = [answer for answer in answers if answer.status_code == 502]
    assert 0 < len(refusals) < len(answers)  # those whose own version and whose fallback are both down: a third
    assert len(far.asked) == len(answers) - len(refusals)


def test_a_version_that_is_slow_is_not_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have accepted the task; its caller will hear from it, or ask again."""
    far = Far("upscale")
    with socket.create_server(("127.0.0.1", 0)) as hung, serving(far.app) as url:
        slow = f"http://127.0.0.1:{hung.getsockname()[1]}"
        wait_briefly_for(slow, monkeypatch)
        with router(WeightedUpstream(url, 50), WeightedUpstream(slow, 50)) as client:
            answers = [client.post("/api/ai/upscale", json={"task_id": number}) for number in range(1, 13)]
    assert {answer.status_code for answer in answers} == {200, 504}
    assert len(far.asked) == sum(answer.status_code == 200 for answer in answers)


def test_a_version_that_is_killed_over_a_request_is_replaced_for_it() -> None:
    """The same body again is the same task in the database that the versions share."""
    received: list[bytes] = []

    def die_over_a_request(server: socket.socket) -> None:
        connection, _ = server.accept()
        received.append(connection.recv(65536))
        server.close()
        connection.close()

    far = Far("upscale")
    with socket.create_server(("127.0.0.1", 0)) as server, serving(far.app) as url:
        thread = threading.Thread(target=die_over_a_request, args=(server,), daemon=True)
        thread.start()
        dying = f"http://127.0.0.1:{server.getsockname()[1]}"
        with router(WeightedUpstream(url, 1), WeightedUpstream(dying, 1_000_000)) as client:
            assert client.post("/api/ai/upscale", json={"task_id": 1}).json() == ACCEPTED
        thread.join(5)
    assert [request.partition(b"\r\n")[0] for request in received] == [b"POST /api/ai/upscale HTTP/1.1"]
    assert Split.posted(far) == [1]


async def test_a_split_service_is_ready_while_a_version_that_takes_tasks_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def readiness(*shares: WeightedUpstream) -> bool:
        proxy = Proxy(lambda _settings: {"upscale": shares})
        async with proxy.app.router.lifespan_context(proxy.app):
            return await proxy.ready(["upscale"])

    dead = f"http://127.0.0.1:{free_port()}"
    wait_briefly_for(dead, monkeypatch)
    with serving(Far("upscale").app) as url:
        assert await readiness(WeightedUpstream(url, 1), WeightedUpstream(dead, 99))
        assert not await readiness(WeightedUpstream(url, 0), WeightedUpstream(dead, 99))
