"""`kinora serve`: what it refuses to start with, and that all of it goes when its first process goes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.cli.serve import environment, listen_address
from shared.settings import Settings
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack, free_port

ROOT = Path(__file__).parents[3]
KINORA = str(Path(sys.executable).with_name("kinora"))


def wait_until_all_are_gone(stack: Stack) -> None:
    """Seconds on an idle machine; the limit is one for a busy one."""
    deadline = time.monotonic() + 60
    while left := stack.processes():
        assert time.monotonic() < deadline, f"still here: {left}\n{stack.log_tail()}"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"KINORA_HOST": "0.0.0.0"}, "KINORA_HOST=0.0.0.0 can be reached from outside: set KINORA_TOKEN"),
        ({"KINORA_PORT": "70000"}, "KINORA_PORT: Input should be less than or equal to 65535"),
        ({"KINORA_PATH_MAP": "x"}, "KINORA_PATH_MAP: Value error, write it as PREFIX=/folder"),
        ({"KINORA_HOST": "no-such-host.invalid", "KINORA_TOKEN": "t"}, "KINORA_HOST: "),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_nothing_starts(
    tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    ended = subprocess.run(
        [KINORA, "serve"],
        cwd=tmp_path,
        env=os.environ | changes,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(sentence)
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_relative_folders_mean_the_callers_whatever_folder_the_processes_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = environment(Settings(media_roots=(Path("a"), Path("/b")), state_dir=Path("s")))
    assert given["KINORA_MEDIA_ROOTS"] == f"{tmp_path}/a:/b"
    assert given["KINORA_STATE_DIR"] == f"{tmp_path}/s"


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1")])
def test_a_host_name_becomes_the_address_that_bentoml_needs(host: str, address: str) -> None:
    assert listen_address(host) == address


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own, which a test may kill."""
    media = tmp_path / "media"
    media.mkdir()
    with Receiver() as receiver:
        settings = {"KINORA_SERVICES": "upscale", "KINORA_TOKEN": "t0ken"}
        stack = Stack(tmp_path / "state", (media,), receiver.url, environment=settings)
        try:
            yield stack.start().wait_ready()
        finally:
            stack.kill()


def test_a_killed_master_takes_everything_along_and_the_next_one_gets_the_port(own_stack: Stack) -> None:
    assert own_stack.process
    own_stack.process.kill()
    own_stack.process.wait(10)
    wait_until_all_are_gone(own_stack)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", own_stack.port))
    own_stack.start().wait_ready()


def test_sigterm_ends_everything_with_status_zero(own_stack: Stack) -> None:
    with own_stack.client() as client:
        assert client.get("/api/ai/tasks").status_code == 401
        answer = client.get("/api/ai/tasks", headers={"authorization": "Bearer t0ken"})
        assert (answer.status_code, answer.json()) == (200, {"tasks": []})
        assert client.post("/api/ai/interpo", json={}, headers={"authorization": "Bearer t0ken"}).status_code == 503
    assert own_stack.process
    own_stack.process.send_signal(signal.SIGTERM)
    assert own_stack.process.wait(30) == 0
    wait_until_all_are_gone(own_stack)


def test_a_service_can_be_served_without_the_router(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    stack = Stack(tmp_path / "state", (tmp_path / "media",), "http://127.0.0.1:9", port=free_port())
    command = [sys.executable, "-m", "bentoml", "serve", "services.upscale.service:Upscale", "--port", str(stack.port)]
    with stack.log.open("wb") as log:
        stack.process = subprocess.Popen(command, cwd=ROOT, env=stack.full_environment(), stdout=log, stderr=log)
    try:
        stack.wait_ready()
        with stack.client() as client:
            assert client.post("/api/ai/upscale", json={}).json()["err_msg"].startswith("task_id is required")
            assert client.get("/api/ai/tasks").json() == {"tasks": []}
            assert "/api/ai/upscale" in client.get("/docs.json").json()["paths"]
            with pytest.raises(httpx.HTTPStatusError):
                client.post("/api/ai/upcale", json={}).raise_for_status()
        assert stack.stop() == 0
    finally:
        stack.kill()
