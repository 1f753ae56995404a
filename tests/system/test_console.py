"""The console's endpoints before everything real: a browser's way from an upload to its result, stops and kills."""

import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from benchmarks.clips import write_clip
from services.router.console_api.sessions import COOKIE
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from tests.support.console import Console

pytestmark = pytest.mark.slow  # a stack of its own
PATIENCE_SECONDS = 250.0  # a runner yields to everything else on a busy machine
ACCEPTED = {"err_code": 0, "err_msg": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console-media").resolve()


@pytest.fixture(scope="module")
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, folder: Path, backend: Receiver) -> Iterator[Stack]:
    environment = {
        "KINORA_SERVICES": "creation", "KINORA_CREATION_ENGINE": "classic", "KINORA_PRESET": "ultrafast",
        "KINORA_TOKEN": "secret",
    }  # fmt: skip
    state_dir = tmp_path_factory.mktemp("console") / "state"
    with (stack := Stack(state_dir, (folder,), backend.url, environment=environment)).running():
        yield stack


@pytest.fixture
def console(stack: Stack) -> Iterator[Console]:
    with stack.client() as client:
        console = Console(client)
        console.sign_in("secret")
        yield console


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("film") / "film.mp4", size=(48, 32), frames=12).read_bytes()


@pytest.fixture(scope="module")
def picture() -> bytes:
    Image.new("RGB", (64, 48), "red").save(encoded := io.BytesIO(), "PNG")
    return encoded.getvalue()


def rows(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield from json.loads(line.removeprefix("data: ")).get("rows", [])


def upload(console: Console, folder: Path, name: str, content: bytes) -> str:
    answer = console.client.post("/api/console/files", params={"folder": str(folder), "name": name}, content=content)
    assert answer.status_code == 201, answer.text
    path: str = answer.json()["path"]
    return path


def test_from_an_upload_to_its_result(console: Console, folder: Path, picture: bytes, backend: Receiver) -> None:
    path = upload(console, folder, '图片 "🎬" <b>.png', picture)
    body = {"task_id": 9007199254740993, "category": 2, "image_url": path, "dist_dir": str(folder / "out")}
    with console.client.stream("GET", "/api/console/events", timeout=PATIENCE_SECONDS) as events:
        assert console.client.post("/api/console/submit/creation", json=body).json() == ACCEPTED
        seen = []
        for row in rows(events):
            assert row["task_id_text"] == "9007199254740993"
            seen.append(row["state"])
            if row["callback"]["state"] == "delivered":
                break
        assert seen[-1] == "succeeded"
    [task] = console.get("tasks/9007199254740993", service="creation").json()["tasks"]
    [callback] = task["callbacks"]
    assert [(attempt["outcome"], attempt["status"]) for attempt in callback["tries"]] == [("delivered", 200)]
    assert json.loads(callback["body"])["video_url"] == task["results"][0]["name"]
    [result] = task["results"]
    part = console.client.get("/api/console/media", params={"path": result["path"]}, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert console.get("thumbnail", path=task["thumbnail"], width=64).headers["content-type"] == "image/jpeg"
    assert console.get("info", path=result["path"]).json()["kind"] == "video"
    [row] = console.get("tasks", q="图片").json()["rows"]
    assert row["id"] == task["id"]
    # What can be done with it
    again = "/api/console/tasks/9007199254740993/{}?service=creation"
    assert console.client.post(again.format("again")).json() == ACCEPTED
    assert console.client.post(again.format("replay")).json() == ACCEPTED
    backend.wait_for(9007199254740993, timeout_seconds=PATIENCE_SECONDS, count=2)
    refusal = console.client.post(again.format("cancel")).json()
    assert refusal["err_code"] == -1


def test_the_system_says_what_it_is_doing(console: Console) -> None:
    found = console.get("system").json()
    [service] = [service for service in found["services"] if service["service"] == "creation"]
    [version] = service["versions"]
    assert service["ready"]
    assert (version["url"], version["problem"]) == ("local", "")
    assert version["runners"][0]["alive"]
    assert version["disks"][0]["free_bytes"] > 0
    assert any(entry["installed"] for entry in found["weights"])


def test_the_doctor_is_asked_from_the_browser(console: Console) -> None:
    found = console.client.get("/api/console/doctor", timeout=180).json()
    assert {"python", "port"} <= {finding["subject"] for finding in found["findings"]}
    begun = time.monotonic()
    assert console.get("doctor").json() == found
    assert time.monotonic() - begun < 5


def begun_upload(stack: Stack, console: Console, folder: Path, film: bytes) -> socket.socket:
    host, port = console.client.base_url.host, console.client.base_url.port
    connection = socket.create_connection((host, port))
    head = (
        f"POST /api/console/files?folder={folder}&name=a.mp4 HTTP/1.1\r\nhost: {host}:{port}\r\n"
        f"content-length: {1 << 20}\r\ncookie: {COOKIE}={console.client.cookies[COOKIE]}\r\n"
        f"x-kinora-csrf: {console.client.headers['x-kinora-csrf']}\r\n\r\n"
    )
    connection.sendall(head.encode() + film[:1000])
    deadline = time.monotonic() + 30
    while not list(folder.glob(".kinora-upload-*")):
        assert time.monotonic() < deadline, stack.log_tail()
        time.sleep(0.05)
    return connection


def test_a_kill_in_the_middle_of_an_upload_leaves_nothing_after_the_next_start(
    stack: Stack, console: Console, folder: Path, film: bytes
) -> None:
    target = folder / "killed"
    target.mkdir()
    with begun_upload(stack, console, target, film):
        stack.kill()
        assert [path for path in target.iterdir() if path.name.startswith(".kinora-upload-")]
        stack.start().wait_ready()
    deadline = time.monotonic() + 30
    while list(target.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert console.get("session").status_code == 200  # the session has outlived the kill


def test_a_stop_waits_for_no_listener_no_reader_and_no_upload(
    stack: Stack, console: Console, folder: Path, film: bytes
) -> None:
    target = folder / "stopped"
    target.mkdir()
    large = folder / "large.mp4"
    large.write_bytes(film)
    os.truncate(large, 512 << 20)
    ended: list[str] = []

    def listen() -> None:
        with stack.client() as client:
            client.cookies.update(console.client.cookies)
            try:
                with client.stream("GET", "/api/console/events", timeout=60) as events:
                    for _ in events.iter_raw():
                        pass
            except httpx.TransportError:
                pass
            ended.append("events")

    thread = threading.Thread(target=listen)
    thread.start()
    reading = console.client.stream("GET", "/api/console/media", params={"path": str(large)})
    with begun_upload(stack, console, target, film), reading as answer:
        next(answer.iter_raw())
        time.sleep(1)
        begun = time.monotonic()
        stack.stop()
        assert time.monotonic() - begun < 15
    thread.join(10)
    assert ended == ["events"]
    assert list(target.iterdir()) == []
    stack.start().wait_ready()
