"""The router in front of services that are well, dead, hung, or not what they claim to be."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from services.router import upstream
from services.router.proxy import PATHS, UNREACHABLE_HEADER, Proxy
from shared.http.middleware import ContractMiddleware
from shared.settings import Settings
from shared.testing.processes import command
from shared.testing.stack import Stack, free_port
from shared.upstreams import WeightedUpstream
from shared.vocabulary import ServiceName
from tests.support.asgi_server import serving
from tests.support.fake_upstream import ACCEPTED, Far, listed, refused, task, wait_briefly_for


@dataclass
class World:
    """Two services that are well, one that hangs, one that is down, and a router in front."""

    upscale: Far
    interpo: Far
    client: httpx.Client


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    upscale = Far("upscale", [task("upscale", 7, 3), task("upscale", 1, 1)])
    interpo = Far("interpo", [task("interpo", 7, 4), task("interpo", 2, 2)])
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as hung:
        urls: dict[ServiceName, str] = {
            "upscale": stack.enter_context(serving(upscale.app)),
            "interpo": stack.enter_context(serving(interpo.app)),
            "facefusion": f"http://127.0.0.1:{hung.getsockname()[1]}",
            "creation": f"http://127.0.0.1:{free_port()}",
        }
        wait_briefly_for(urls["facefusion"], monkeypatch)
        shares = {service: [WeightedUpstream(url, 1)] for service, url in urls.items()}
        router = stack.enter_context(serving(ContractMiddleware(Proxy(lambda _settings: shares).app, Settings())))
        client = stack.enter_context(httpx.Client(base_url=router, trust_env=False, timeout=20))
        yield World(upscale, interpo, client)


# Documented paths


def test_the_documented_paths_and_the_published_misspelling_lead_to_their_services() -> None:
    assert PATHS == {
        "/api/ai/creation": "creation",
        "/api/ai/facefusion": "facefusion",
        "/api/ai/interpo": "interpo",
        "/api/ai/upscale": "upscale",
        "/api/ai/upcale": "upscale",
        "/api/ai/tracking_creation": "creation",
        "/api/ai/traking_creation": "creation",
    }


@pytest.mark.parametrize("path", ["/api/ai/upscale", "/api/ai/upscale/", "/api/ai/upcale", "/api/ai/upcale/"])
def test_a_request_arrives_byte_for_byte_with_its_token_and_nothing_of_the_browser(world: World, path: str) -> None:
    body = b'{ "task_id":1.0,  "note": "\xe9\x95\xbf", "task_id": NaN'
    own = str(world.client.base_url).rstrip("/")
    headers = {"authorization": "Bearer t", "origin": own, "cookie": "c=1", "x-forwarded-host": "evil.example"}
    answer = world.client.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, ACCEPTED)
    [(target, received, content)] = world.upscale.asked
    assert (target, content) == ("/api/ai/upscale", body)
    assert received["authorization"] == "Bearer t"
    assert not {"origin", "cookie", "x-forwarded-host"} & set(received)


@pytest.mark.parametrize("path", ["/api/ai/tracking_creation", "/api/ai/traking_creation/"])
def test_drawn_paths_go_to_their_own_path_of_the_service(path: str) -> None:
    creation = Far("creation", other_paths=("/api/ai/tracking_creation",))
    with serving(creation.app) as far:
        shares: dict[ServiceName, list[WeightedUpstream]] = {"creation": [WeightedUpstream(far, 1)]}
        with serving(ContractMiddleware(Proxy(lambda _settings: shares).app, Settings())) as url:
            assert httpx.post(url + path, json={}).json() == ACCEPTED
    assert [target for target, _, _ in creation.asked] == ["/api/ai/tracking_creation"]


@pytest.mark.parametrize(
    ("service", "status", "sentence"),
    [
        ("creation", 502, "the service creation cannot be reached"),
        ("facefusion", 504, "the service facefusion did not answer in time"),
    ],
)
def test_a_service_that_is_down_or_hung_is_one_sentence(world: World, service: str, status: int, sentence: str) -> None:
    assert refused(world.client.post(f"/api/ai/{service}", json={}), status) == sentence


def test_a_service_that_runs_nowhere_is_one_sentence() -> None:
    with serving(ContractMiddleware(Proxy(lambda _settings: {}).app, Settings())) as url:
        sentence = refused(httpx.post(url + "/api/ai/interpo", json={}), 503)
        assert sentence == "the service interpo does not run here: start it, or set KINORA_INTERPO_URL"
        assert refused(httpx.get(url + "/api/ai/tasks"), 503) == "no service can be reached"
        assert "does not run here" in refused(httpx.get(url + "/api/ai/tasks?service=interpo"), 503)


@pytest.mark.parametrize("status", [200, 401, 503])
def test_a_services_own_refusal_comes_through_as_it_is(world: World, status: int) -> None:
    world.upscale.answer = JSONResponse({"err_code": -1, "err_msg": "ratio 必填"}, status)
    assert refused(world.client.post("/api/ai/upscale", json={}), status) == "ratio 必填"


@pytest.mark.parametrize("answer", [HTMLResponse("<h1>nginx</h1>"), JSONResponse({"ok": True}), HTMLResponse("", 302)])
def test_what_is_not_a_service_is_not_taken_for_one(world: World, answer: Response) -> None:
    world.upscale.answer = answer
    sentence = refused(world.client.post("/api/ai/upscale", json={}), 502)
    assert sentence == "another program answers at the address of the service upscale"


def test_the_language_that_a_person_asks_for_reaches_the_service_and_the_routers_own_sentences(world: World) -> None:
    headers = {"accept-language": "zh-CN,zh;q=0.9"}
    world.client.post("/api/ai/upscale", json={}, headers=headers)
    [(_, received, _)] = world.upscale.asked
    assert received["accept-language"] == headers["accept-language"]
    assert refused(world.client.post("/api/ai/creation", json={}, headers=headers), 502) == "无法连接服务 creation"
    assert (
        refused(world.client.get("/api/ai/tasks/9?service=creation", headers=headers), 502) == "无法连接服务 creation"
    )


def test_a_connection_that_breaks_is_tried_once_more() -> None:
    """Posting again is harmless: the same body is the same task."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 28\r\n\r\n" + json.dumps(ACCEPTED).encode() + b" "
    received = []

    def break_then_answer(server: socket.socket) -> None:
        for reply in (b"", answer.replace(b"28", str(len(json.dumps(ACCEPTED)) + 1).encode())):
            connection, _ = server.accept()
            received.append(connection.recv(65536))
            connection.sendall(reply)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=break_then_answer, args=(server,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with serving(
            ContractMiddleware(Proxy(lambda _settings: {"upscale": [WeightedUpstream(url, 1)]}).app, Settings())
        ) as router:
            assert httpx.post(router + "/api/ai/upscale", json={"task_id": 1}).json() == ACCEPTED
        thread.join(5)
    assert len(received) == 2


async def test_many_requests_at_once_all_arrive(world: World) -> None:
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=world.client.base_url, trust_env=False, limits=limits, timeout=60) as client:
        bodies = [{"task_id": number} for number in range(120)]
        answers = await asyncio.gather(*(client.post("/api/ai/interpo", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(json.loads(body)["task_id"] for _, _, body in world.interpo.asked) == list(range(120))


def test_a_burst_of_submissions_opens_few_connections_and_keeps_nobody_from_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More at once would only starve each other, until those that wait for their connection are taken for lost."""
    monkeypatch.setattr(upstream, "_SUBMISSIONS_AT_ONCE", 4)
    open_now, most = 0, 0
    go_on = asyncio.Event()

    async def submit(_request: Request) -> Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await go_on.wait()
        open_now -= 1
        return JSONResponse(ACCEPTED)

    async def release(_request: Request) -> Response:
        go_on.set()
        return Response()

    routes = [Route("/api/ai/upscale", submit, methods=["POST"]), Route("/readyz", release)]

    async def burst(proxy: Proxy) -> list[httpx.Response]:
        async with proxy.app.router.lifespan_context(proxy.app):
            transport = httpx.ASGITransport(proxy.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
                posts = [asyncio.create_task(client.post("/api/ai/upscale", json={})) for _ in range(20)]
                await asyncio.sleep(0.5)
                assert await proxy.ready(["upscale"])
                return await asyncio.gather(*posts)

    with serving(Starlette(routes=routes)) as url:
        answers = asyncio.run(burst(Proxy(lambda _settings: {"upscale": [WeightedUpstream(url, 1)]})))
    assert {answer.status_code for answer in answers} == {200}
    assert most == 4


# Tasks


def test_the_lists_of_all_services_are_one_newest_first_whoever_is_down(world: World) -> None:
    answer = world.client.get("/api/ai/tasks")
    assert listed(answer) == [("interpo", 7), ("upscale", 7), ("interpo", 2), ("upscale", 1)]
    assert answer.headers[UNREACHABLE_HEADER] == "facefusion, creation"


def test_a_service_that_is_not_ready_only_makes_the_list_shorter(world: World) -> None:
    world.upscale.answer = JSONResponse({"err_code": -1, "err_msg": "storage is unavailable"}, 503)
    answer = world.client.get("/api/ai/tasks")
    assert listed(answer) == [("interpo", 7), ("interpo", 2)]
    assert "upscale" in answer.headers[UNREACHABLE_HEADER]
    assert "upscale" in refused(world.client.get("/api/ai/tasks?service=upscale"), 503)


def test_the_limit_counts_over_all_services(world: World) -> None:
    assert listed(world.client.get("/api/ai/tasks?limit=3")) == [("interpo", 7), ("upscale", 7), ("interpo", 2)]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "service=painting", "state=done"])
def test_a_query_that_means_nothing_is_refused(world: World, query: str) -> None:
    assert refused(world.client.get(f"/api/ai/tasks?{query}"), 200).startswith(query.partition("=")[0] + " must be")


def test_one_service_may_be_asked_alone(world: World) -> None:
    answer = world.client.get("/api/ai/tasks?service=upscale&state=")
    assert listed(answer) == [("upscale", 7), ("upscale", 1)]
    assert UNREACHABLE_HEADER not in answer.headers
    refused(world.client.get("/api/ai/tasks?service=creation"), 502)


def test_a_task_is_found_in_whichever_services_know_it(world: World) -> None:
    assert listed(world.client.get("/api/ai/tasks/7")) == [("interpo", 7), ("upscale", 7)]
    assert listed(world.client.get("/api/ai/tasks/1/")) == [("upscale", 1)]


def test_an_unknown_task_is_404_only_where_every_service_could_be_asked(world: World) -> None:
    assert refused(world.client.get("/api/ai/tasks/99?service=upscale"), 404) == "no task 99 is known"
    assert "facefusion" in refused(world.client.get("/api/ai/tasks/99"), 504)
    assert refused(world.client.get("/api/ai/tasks/x"), 404) == "no task x is known"


def test_a_cancel_goes_to_every_service_and_succeeds_where_one_accepts(world: World) -> None:
    world.upscale.answer = JSONResponse({"err_code": -1, "err_msg": "not active"})
    assert world.client.post("/api/ai/tasks/7/cancel?kind=generate").json() == ACCEPTED
    assert [far.asked[0][0] for far in (world.upscale, world.interpo)] == ["/api/ai/tasks/7/cancel?kind=generate"] * 2


def test_a_cancel_that_nobody_accepts_says_why(world: World) -> None:
    world.upscale.answer = world.interpo.answer = JSONResponse({"err_code": -1, "err_msg": "not active"})
    assert refused(world.client.post("/api/ai/tasks/7/cancel?service=upscale"), 200) == "not active"
    assert "facefusion" in refused(world.client.post("/api/ai/tasks/7/cancel"), 504)


def test_the_document_shows_every_service_that_can_be_asked(world: World) -> None:
    document: dict[str, Any] = world.client.get("/docs.json").json()
    assert {"/api/ai/upscale", "/api/ai/interpo", "/api/ai/tasks"} <= set(document["paths"])
    assert "/api/ai/creation" not in document["paths"]


async def test_readiness_asks_for_the_services_of_this_machine_and_for_one_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = Far("upscale")

    async def readiness(proxy: Proxy, *needed: ServiceName) -> bool:
        async with proxy.app.router.lifespan_context(proxy.app):
            return await proxy.ready(needed)

    with serving(far.app) as url:
        dead = f"http://127.0.0.1:{free_port()}"
        wait_briefly_for(dead, monkeypatch)
        proxy = Proxy(lambda _settings: {"upscale": [WeightedUpstream(url, 1)], "interpo": [WeightedUpstream(dead, 1)]})
        assert await readiness(proxy, "upscale")
        assert await readiness(proxy)
        assert not await readiness(proxy, "upscale", "interpo")
        assert not await readiness(Proxy(lambda _settings: {"interpo": [WeightedUpstream(dead, 1)]}))
        assert not await readiness(Proxy(lambda _settings: {}))


# The real one


def test_the_console_is_one_page_without_anything_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    page = answer.text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"""https?://|src="(?!console/)|@import|url\(""", page)
    assert "'unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)", page)  # nothing inline, for which the policy has no place
    for name in re.findall(r"""(?:src|href)="(console/[^"]+)""", page):
        assert client.get(f"/{name}").status_code == 200


def test_the_routers_own_pages_answer_under_bentoml(client: httpx.Client, stack: Stack) -> None:
    assert client.get("/livez").status_code == 200
    stack.wait_ready()
    assert "bentoml" in client.get("/metrics").text
    assert refused(client.get("/nowhere"), 404) == "this path does not exist"
    assert refused(client.get("/api/ai/upscale"), 405) == "this path does not support this method"
    assert refused(client.post("/api/ai/upscale", content=b"x" * 70_000), 413)


def test_the_router_process_carries_no_model_no_queue_and_no_database(stack: Stack) -> None:
    [router] = [process for process in stack.processes() if "--service-name router" in command(process)]
    mapped = [library.path for library in router.memory_maps()]
    assert not [path for path in mapped if re.search(r"/site-packages/(?:torch|psycopg|onnxruntime|av|cv2)", path)]
