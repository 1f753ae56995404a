"""Inputs that are URLs, from the post to the callback: real processes, a real server on loopback."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clips import write_clip
from shared.media.media_info import MediaKind
from shared.testing.callback_receiver import Receiver
from tests.support.file_server import FileServer, ServedFile, file_server
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService, callbacks

VIDEO: dict[str, MediaKind] = {"note": "video"}


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, server: FileServer) -> Iterator[TinyService]:
    home = tmp_path_factory.mktemp("fetch")
    settings: dict[str, Any] = {"fetch_hosts": f"127.0.0.1:{server.port}", "fetch_private": "true", "fetch_max_mb": 16}
    with TinyService(home, receiver, drain_seconds=8, log_format="json", **settings) as service:
        yield service


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", size=(48, 32), frames=12, sound=True).read_bytes()


def hidden(service: TinyService) -> list[str]:
    return [name for name in service.files() if name.startswith(".")]


def wait_until_nothing_is_hidden(service: TinyService) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while hidden(service):
        assert time.monotonic() < deadline, hidden(service)
        time.sleep(0.05)


def test_a_video_of_an_allowed_host_is_fetched_made_and_removed(
    service: TinyService, receiver: Receiver, server: FileServer, clip: bytes
) -> None:
    server.files["/in/1.mp4"] = ServedFile(clip)
    url = server.url("/in/1.mp4?X-Amz-Signature=very-secret")
    assert service.post(1, media=VIDEO, behaviour="video", note=url) == ""
    [callback] = callbacks(receiver, 1)
    assert callback["err_msg"] == ""
    assert (service.out / str(callback["video_url"])).exists()
    wait_until_nothing_is_hidden(service)
    log = (service.home / "log").read_text()
    assert "/in/1.mp4" in log
    assert "very-secret" not in log
    assert "very-secret" not in json.dumps(service.tasks())
    assert service.sql("SELECT context FROM kinora_tasks WHERE task_id = 1") == [{"context": {}}]


def test_acceptance_looks_nothing_up_and_a_repeat_is_known_by_its_url(
    service: TinyService, receiver: Receiver, server: FileServer, clip: bytes
) -> None:
    server.files["/in/2.mp4"] = ServedFile(clip)
    body: dict[str, Any] = {"behaviour": "video", "note": server.url("/in/2.mp4")}
    assert service.post(2, media=VIDEO, **body) == ""
    receiver.wait_for(2, timeout_seconds=PATIENCE_SECONDS)
    assert service.post(2, media=VIDEO, **body) == ""
    receiver.wait_for(2, timeout_seconds=PATIENCE_SECONDS, count=2)
    assert len(server.of("/in/2.mp4")) == 1
    refused = service.post(3, media=VIDEO, note="http://evil.example/x")
    assert "evil.example is not one of the hosts" in refused
    assert service.post(3, media=VIDEO, note="http://127.0.0.1@evil.example/x").startswith("Rejected: note must be")


@pytest.mark.parametrize(
    ("task_id", "file", "words"),
    [
        (10, ServedFile(status=404), "answered HTTP 404"),
        (11, ServedFile(b"no video at all" * 1000), "in.mp4"),
        (12, ServedFile(b"0" * (17 << 20)), "larger than 16 MB"),
        (13, ServedFile(status=302, location="http://evil.example/in.mp4"), "evil.example"),
    ],
)
def test_what_is_wrong_with_it_is_the_end_of_the_task(
    service: TinyService, receiver: Receiver, server: FileServer, *, task_id: int, file: ServedFile, words: str
) -> None:
    server.files[f"/{task_id}/in.mp4"] = file
    assert service.post(task_id, media=VIDEO, behaviour="video", note=server.url(f"/{task_id}/in.mp4")) == ""
    [callback] = callbacks(receiver, task_id)
    assert callback["err_code"] == -1
    assert words in str(callback["err_msg"])
    wait_until_nothing_is_hidden(service)


def test_a_kill_in_the_middle_costs_only_what_was_not_safe(
    service: TinyService, receiver: Receiver, server: FileServer, clip: bytes
) -> None:
    padded = clip + (15 << 20).to_bytes(4) + b"free" + bytes((15 << 20) - 8)  # a box that players skip
    file = server.files["/in/20.mp4"] = ServedFile(padded, pause_seconds=0.02)
    assert service.post(20, media=VIDEO, behaviour="video", note=server.url("/in/20.mp4")) == ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(name.endswith(".note") and _safe(service.out / name) for name in hidden(service)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(service.runner_pid(), signal.SIGKILL)
    file.pause_seconds = 0
    [callback] = callbacks(receiver, 20)
    assert callback["err_msg"] == ""
    first, second = server.of("/in/20.mp4")
    assert (first.first_byte, second.headers["if-range"]) == (0, file.etag)
    assert second.first_byte >= 8 << 20
    assert service.task(20)["attempt"] == 2
    wait_until_nothing_is_hidden(service)


def _safe(note: Path) -> bool:
    try:
        return bool(json.loads(note.read_text())["bytes"])
    except (OSError, ValueError):
        return False


def test_a_cancel_stops_a_fetch_at_once_and_leaves_nothing(
    service: TinyService, receiver: Receiver, server: FileServer
) -> None:
    server.files["/in/30.mp4"] = ServedFile(b"0" * (10 << 20), pause_seconds=30)
    pid = service.runner_pid()
    assert service.post(30, media=VIDEO, behaviour="video", note=server.url("/in/30.mp4")) == ""
    server.wait_for("/in/30.mp4")
    assert service.cancel(30) == ""
    [callback] = callbacks(receiver, 30)
    assert callback["err_msg"] == "cancelled"
    assert service.runner_pid() == pid
    wait_until_nothing_is_hidden(service)


def test_without_hosts_a_url_is_no_path(tmp_path: Path, receiver: Receiver, server: FileServer) -> None:
    with TinyService(tmp_path, receiver) as service:
        refused = service.post(1, media=VIDEO, note=server.url("/in/1.mp4"))
    assert "must be a local path" in refused
