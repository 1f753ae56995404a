"""Every answer is the contract's, whatever happens, and only those may call who should."""

import asyncio
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.upscale.request import UpscaleRequest
from shared.http.middleware import BODY_LIMIT_BYTES, ContractMiddleware
from shared.settings import AccessSettings, Settings
from shared.testing.stack import free_port
from shared.vocabulary import Language
from tests.support import failing_service
from tests.support.asgi_server import serving

ROOT = Path(__file__).parents[3]
SUBMIT = "/api/ai/upscale"
BODY = {"task_id": 1, "video_url": "/media/a.mp4", "dist_dir": "/media/out", "ratio": 2}
ACCEPTED = {"err_code": 0, "err_msg": ""}


def refused(answer: httpx.Response, status: int = 200) -> str:
    """Check that an answer is the contract's refusal; return its sentence."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    content: dict[str, Any] = answer.json()
    assert list(content) == ["err_code", "err_msg"]
    assert content["err_code"] == -1
    sentence: str = content["err_msg"]
    assert sentence
    assert sentence.isprintable()
    assert len(sentence) <= 255
    return sentence


# In front of any ASGI application


async def _inside(scope: Scope, receive: Receive, send: Send) -> None:
    """What the middleware wraps here: every way in which an application can fail or answer."""

    async def echo(request: Request) -> Response:
        return JSONResponse({"body": (await request.body()).decode(), "type": request.headers["content-type"]})

    async def status(request: Request) -> Response:
        headers = {"retry-after": "7", "x-internal": "secret"}
        return PlainTextResponse("Traceback: ...", int(request.path_params["status"]), headers)

    async def spoken(_request: Request) -> Response:
        return JSONResponse({"err_code": -1, "err_msg": "already said"}, 502)

    async def boom(_request: Request) -> Response:
        raise ZeroDivisionError

    async def half(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError(scope["path"])

    if scope.get("path") == "/half":
        await half(scope, receive, send)
        return
    routes = [
        Route(SUBMIT, echo, methods=["POST"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/status/{status}", status),
        Route("/spoken", spoken),
        Route("/boom", boom),
        Route("/livez", echo),
        Route("/readyz", echo),
        Route("/", echo),
    ]
    await Starlette(routes=routes)(scope, receive, send)


@pytest.fixture(scope="module")
def plain() -> Iterator[httpx.Client]:
    app = ContractMiddleware(_inside, Settings(), {SUBMIT: UpscaleRequest})
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nowhere", 404, "this path does not exist"),
        ("GET", "/api/ai/nope", 404, "this path does not exist"),
        ("GET", SUBMIT, 405, "this path does not support this method"),
        ("DELETE", SUBMIT, 405, "this path does not support this method"),
        ("GET", "/status/401", 401, "a bearer token of KINORA_TOKEN is required"),
        ("GET", "/status/400", 200, "the request was refused with status 400"),
        ("GET", "/status/422", 200, "the request was refused with status 422"),
        ("GET", "/status/500", 503, "an internal error, its details are in the log"),
        ("GET", "/status/502", 502, "the service is not ready"),
        ("GET", "/status/503", 503, "the service is not ready"),
        ("GET", "/status/504", 504, "the service did not answer in time"),
        ("GET", "/spoken", 502, "already said"),
        ("GET", "/boom", 503, "an internal error, its details are in the log"),
    ],
)
def test_every_failure_inside_becomes_the_contracts_answer(
    plain: httpx.Client, method: str, path: str, status: int, sentence: str
) -> None:
    assert refused(plain.request(method, path), status) == sentence


def test_a_failure_keeps_the_headers_that_a_proxy_acts_on_and_no_others(plain: httpx.Client) -> None:
    assert plain.get("/status/503").headers["retry-after"] == "7"
    assert "x-internal" not in plain.get("/status/503").headers
    assert plain.get(SUBMIT).headers["allow"] == "POST"


def test_an_answer_that_breaks_off_closes_the_connection_instead_of_pretending(plain: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        plain.get("/half")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "text/html; charset=gbk", "nonsense", "application/vnd.bentoml+pickle"]
)
def test_a_missing_or_odd_content_type_still_parses(plain: httpx.Client, content_type: str) -> None:
    answer = plain.post(
        SUBMIT, content=json.dumps(BODY), headers={"content-type": content_type} if content_type else {}
    )
    assert answer.json()["type"] == "application/json"
    assert json.loads(answer.json()["body"]) == BODY


def test_a_compressed_body_is_answered_with_415(plain: httpx.Client) -> None:
    packed = gzip.compress(json.dumps({"task_id": 1, "dist_dir": "/m"}).encode())
    answer = plain.post("/api/ai/upscale", content=packed, headers={"content-encoding": "gzip"})
    assert "compressed" in refused(answer, 415)


def test_the_application_inside_gets_the_normalised_request(plain: httpx.Client) -> None:
    sent = '{"ratio": "2", "task_id": 1.0, "dist_dir": "/media/out", "video_url": "/media/a.mp4", "extra": NaN}'
    assert json.loads(plain.post(SUBMIT, content=sent).json()["body"]) == BODY


def test_a_trailing_slash_is_accepted_without_a_redirect(plain: httpx.Client) -> None:
    assert plain.post(SUBMIT + "/", json=BODY).status_code == 200
    assert plain.post("/echo///", content=b"x").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_64_kilobytes_and_not_one_byte_more(plain: httpx.Client, chunked: bool) -> None:  # noqa: FBT001
    def content(length: int) -> Any:
        return iter([b" " * (length - 5), b" " * 5]) if chunked else b" " * length

    assert plain.post("/echo", content=content(BODY_LIMIT_BYTES)).status_code == 200
    sentence = refused(plain.post("/echo", content=content(BODY_LIMIT_BYTES + 1)), 413)
    assert sentence == "the request body must not be longer than 65536 bytes"


def test_who_sends_far_too_much_still_reads_the_answer(plain: httpx.Client) -> None:
    refused(plain.post(SUBMIT, content=b"x" * 5_000_000), 413)


def test_a_body_that_never_arrives_is_answered_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.http.middleware.BODY_SECONDS", 0.2)
    with serving(ContractMiddleware(_inside, Settings())) as url:
        host, port = url.removeprefix("http://").split(":")
        with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
            connection.sendall(f"POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\nhalf".encode())
            answer = b""
            while b"}" not in answer:
                answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"did not arrive in time" in answer


def test_a_caller_that_leaves_in_the_middle_of_its_body_disturbs_nobody(plain: httpx.Client) -> None:
    address = (plain.base_url.host, plain.base_url.port or 0)
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhalf")
    assert plain.post("/echo", content=b"x").status_code == 200


def test_sentences_are_chinese_where_the_settings_say_so() -> None:
    with serving(ContractMiddleware(_inside, Settings(language="zh"), {SUBMIT: UpscaleRequest})) as url:
        assert refused(httpx.post(url + SUBMIT, json=BODY | {"ratio": 5})) == "ratio 的可选值为 1, 2, 3, 4，不能是 5"
        assert refused(httpx.get(url + "/nowhere"), 404) == "此路径不存在"


@pytest.mark.parametrize("configured", ["en", "zh"])
def test_who_names_a_language_gets_its_sentences_and_who_names_none_those_of_the_settings(configured: Language) -> None:
    sentences = {"en": "this path does not exist", "zh": "此路径不存在"}
    with serving(ContractMiddleware(_inside, Settings(language=configured), {SUBMIT: UpscaleRequest})) as url:

        def asked(value: str) -> str:
            return refused(httpx.get(url + "/nowhere", headers={"accept-language": value}), 404)

        assert asked("zh-CN,zh;q=0.9,en;q=0.8") == sentences["zh"]
        assert asked("en-US,en;q=0.5") == sentences["en"]
        assert [asked("*"), asked("fr"), refused(httpx.get(url + "/nowhere"), 404)] == [sentences[configured]] * 3
        answer = httpx.post(url + SUBMIT, json=BODY | {"ratio": 5}, headers={"accept-language": "zh"})
        assert refused(answer) == "ratio 的可选值为 1, 2, 3, 4，不能是 5"


def test_a_go_backend_names_no_language() -> None:
    """net/http sets `User-Agent` and `Accept-Encoding` by itself; the example must not add a language, either."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "deploy/examples/golang-backend").rglob("*.go")]
    assert sources
    assert [source for source in sources if "accept-language" in source.lower()] == []


# Who may call


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    app = ContractMiddleware(_inside, Settings(access=AccessSettings(token=SecretStr("first, second"))))
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("value", ["Bearer first", "bearer second", "BEARER  first"])
def test_every_configured_token_opens(guarded: httpx.Client, value: str) -> None:
    assert guarded.post("/echo", headers={"authorization": value}).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer third",
        "Bearer firs",
        "Basic first",
        "first",
        "Bearer first, second",
        "Bearer é",
    ],
)
def test_no_or_a_wrong_token_is_answered_with_401(guarded: httpx.Client, value: str) -> None:
    answer = guarded.post("/echo", headers=[(b"authorization", value.encode())] if value else [])
    assert refused(answer, 401) == "a bearer token of KINORA_TOKEN is required"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/"])
def test_probes_and_the_static_page_need_no_token(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code != 401


@pytest.mark.parametrize("path", [SUBMIT, "/nowhere", "/metrics", "/docs.json", "/livez/x", "/healthz"])
def test_everything_else_needs_one_even_what_does_not_exist(guarded: httpx.Client, path: str) -> None:
    refused(guarded.get(path), 401)


@pytest.mark.parametrize("word", ["none", "None", " none "])
def test_the_word_none_asks_for_no_token(word: str) -> None:
    with serving(ContractMiddleware(_inside, Settings(access=AccessSettings(token=SecretStr(word))))) as url:
        assert httpx.post(url + "/echo").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9", "[::1]:5000", "localhost."])
def test_loopback_names_may_be_called(plain: httpx.Client, host: str) -> None:
    assert plain.post("/echo", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5000",
        "127.0.0.1.evil.example",
        "[::",
        "localhost@evil",
        "evil@127.0.0.1",
        "10.0.0.1",
    ],
)
def test_a_foreign_host_is_answered_with_403(plain: httpx.Client, host: str) -> None:
    assert "KINORA_ALLOWED_HOSTS" in refused(plain.post("/echo", headers={"host": host}), 403)


def test_the_configured_host_and_the_allowed_hosts_may_be_called() -> None:
    allowed = AccessSettings(host="192.0.2.7", token=SecretStr("none"), allowed_hosts=("Kinora.example",))
    with serving(ContractMiddleware(_inside, Settings(access=allowed))) as url:
        for host in ("192.0.2.7:5000", "kinora.example", "127.0.0.1"):
            assert httpx.post(url + "/echo", headers={"host": host}).status_code == 200
        refused(httpx.post(url + "/echo", headers={"host": "evil.example"}), 403)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1.evil.example", "http://127.0.0.1", ""],
)
def test_a_web_page_of_somebody_else_gets_403(plain: httpx.Client, origin: str) -> None:
    assert "may not call" in refused(plain.post("/echo", headers={"origin": origin}), 403)


def test_the_page_of_this_server_may_call_and_so_may_a_named_one(plain: httpx.Client) -> None:
    assert plain.post("/echo", headers={"origin": str(plain.base_url).rstrip("/")}).status_code == 200
    named = Settings(access=AccessSettings(allowed_hosts=("kinora.example",)))
    with serving(ContractMiddleware(_inside, named)) as url:
        assert httpx.post(url + "/echo", headers={"origin": "https://kinora.example"}).status_code == 200


# In front of BentoML itself


@pytest.fixture(scope="module")
def slow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slow")


@pytest.fixture(scope="module")
def slow(slow_home: Path) -> Iterator[httpx.Client]:
    port = free_port()
    home = slow_home
    log = home / "log"
    left_over = home / "prometheus_multiproc_dir" / "counter_1.db"  # of an earlier run
    left_over.parent.mkdir()
    left_over.write_bytes(b"not even in the format")
    command = [sys.executable, "-m", "bentoml", "serve", "tests.support.failing_service:Slow", "--port", str(port)]
    environment = os.environ | {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(home)}
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        stack.callback(process.wait, 20)
        stack.callback(process.send_signal, signal.SIGTERM)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20))
        deadline = time.monotonic() + 40
        while not _answers(client):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield client


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("task_id", "status", "sentence"),
    [
        (failing_service.BUSY, 200, "busy"),
        (failing_service.STORAGE_AWAY, 503, "the service is not ready"),
        (failing_service.CRASH, 503, "an internal error, its details are in the log"),
        (failing_service.SLEEP, 504, "the service did not answer in time"),
    ],
)
def test_what_an_api_raises_becomes_the_contracts_answer(
    slow: httpx.Client, task_id: int, status: int, sentence: str
) -> None:
    assert sentence in refused(slow.post(SUBMIT, json=BODY | {"task_id": task_id}), status)


def test_what_an_api_raises_is_told_in_the_language_asked_for(slow: httpx.Client) -> None:
    answer = slow.post(SUBMIT, json=BODY | {"task_id": failing_service.BUSY}, headers={"accept-language": "zh-CN"})
    assert refused(answer) == "繁忙：该服务已有 100 个任务在等待，请稍后重试"
    unready = slow.get("/api/ai/tasks", headers={"accept-language": "zh-CN"})
    assert refused(unready, 503) == "服务尚未就绪"


def test_an_api_answers_exactly_the_two_keys(slow: httpx.Client) -> None:
    answer = slow.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.content) == (200, b'{"err_code":0,"err_msg":""}')


def test_bentomls_pickle_content_type_is_not_unpickled(slow: httpx.Client) -> None:
    answer = slow.post(SUBMIT, content=b"\x80\x04.", headers={"content-type": "application/vnd.bentoml+pickle"})
    assert refused(answer) == "the request body is not valid JSON"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", SUBMIT, 405), ("POST", "/nowhere", 404), ("PUT", "/livez", 405)]
)
def test_the_frameworks_own_refusals_are_the_contracts(slow: httpx.Client, method: str, path: str, status: int) -> None:
    refused(slow.request(method, path), status)


async def test_answers_come_while_others_sleep(slow: httpx.Client) -> None:
    async with httpx.AsyncClient(base_url=slow.base_url, trust_env=False, timeout=20) as client:
        asleep = asyncio.create_task(client.post(SUBMIT, json=BODY | {"task_id": failing_service.SLEEP}))
        answered = [await client.post(SUBMIT, json=BODY) for _ in range(20)]
        slept = await asleep
    assert slept.status_code == 504
    assert all(answer.json() == ACCEPTED for answer in answered)


def test_the_figures_grow_with_routes_never_with_what_callers_ask_for(slow: httpx.Client) -> None:
    slow.post(SUBMIT, json=BODY)
    for number in range(1000):
        slow.get(f"/api/ai/tasks/{number}")
        slow.get(f"/nowhere/{number}")
    page = slow.get("/metrics").text
    endpoints = set(re.findall(r'endpoint="([^"]*)"', page))
    assert {SUBMIT, "/api/ai/tasks/{task_id}", "unknown"} <= endpoints
    assert len(endpoints) < 20
    assert len(page) < 100_000


def test_figures_that_an_earlier_process_left_are_gone_after_a_start(slow: httpx.Client, slow_home: Path) -> None:
    assert slow.get("/metrics").is_success
    assert not (slow_home / "prometheus_multiproc_dir" / "counter_1.db").exists()
