"""`kinora submit`: a task posted to a running router, followed to its end, and what a script reads of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.clips import write_clip
from shared.cli.request_options import _beside, request_type, with_files
from shared.cli.router_client import router_url
from shared.contract.messages import TaskView
from shared.settings import AccessSettings, Settings
from shared.testing.stack import Stack, free_port
from shared.vocabulary import SERVICES, ServiceName
from tests.support.terminal import CTRL_C, HEEDS_CTRL_C, on_terminal

KINORA = str(Path(sys.executable).with_name("kinora"))
SECONDS = 120


def kinora(stack: Stack, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [KINORA, "submit", *words]
    return subprocess.run(
        command, env=stack.full_environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )  # fmt: skip


def test_a_task_is_posted_followed_and_its_result_printed(stack: Stack, clip: Path, dist_dir: Path) -> None:
    ended = kinora(stack, "upscale", str(clip), "--ratio", "2", "--out", str(dist_dir))
    assert ended.returncode == 0, ended.stderr
    result = Path(ended.stdout.strip())
    assert result.parent == dist_dir
    assert result.is_file()


def test_without_a_folder_the_result_lies_beside_its_input_and_a_task_can_be_followed_later(
    stack: Stack, media: Path, task_id: int
) -> None:
    film = write_clip(media / "beside" / "film.mp4", size=(48, 32), frames=6)
    posted = kinora(stack, "--detach", "interpo", str(film), "--rate", "2", "--task-id", str(task_id))
    assert (posted.returncode, posted.stdout) == (0, f"{task_id}\n")
    watched = kinora(stack, "--watch", str(task_id))
    assert watched.returncode == 0, watched.stderr
    assert (film.parent / watched.stdout.strip()).is_file()


@pytest.mark.parametrize(
    ("words", "ended_with"),
    [
        (["upscale", "{clip}"], (1, "ratio is required: one of 1, 2, 3, 4")),
        (["upscale", "{clip}", "--ratio", "7"], (1, "ratio must be one of 1, 2, 3, 4")),
        (["upscale", "/etc/hostname", "--ratio", "2", "--out", "{out}"], (1, "KINORA_MEDIA_ROOTS")),
        (["creation", "--prompt-cn", "海", "--out", "{out}"], (1, "kinora weights pull")),
        (["upscale", "{clip}", "{clip}", "--ratio", "2"], (2, "one file too many")),
        (["--watch", "999999999999999"], (1, "no task 999999999999999 is known")),
        ([], (2, "")),
    ],
)
def test_a_refusal_is_the_services_own_sentence(
    stack: Stack, clip: Path, dist_dir: Path, words: list[str], ended_with: tuple[int, str]
) -> None:
    ended = kinora(stack, *(word.format(clip=clip, out=dist_dir) for word in words))
    assert ended.returncode == ended_with[0]
    assert ended_with[1] in ended.stderr.replace("\n", " ")


def test_where_no_router_is_a_command_says_so(stack: Stack, clip: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = kinora(stack, "--url", url, "upscale", str(clip), "--ratio", "2")
    assert ended.returncode == 3
    assert f"no router answers at {url}" in ended.stderr


def test_ctrl_c_without_a_terminal_leaves_the_task_running(
    stack: Stack, media: Path, task_id: int, client: httpx.Client
) -> None:
    film = write_clip(media / "interrupted" / "film.mp4", size=(320, 240), frames=1500)
    with subprocess.Popen(
        [*HEEDS_CTRL_C, KINORA, "submit", "upscale", str(film), "--ratio", "2", "--task-id", str(task_id)],
        env=stack.full_environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + SECONDS
        while client.get(f"/api/ai/tasks/{task_id}").status_code != httpx.codes.OK:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)  # it watches by then
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert f"the task goes on: kinora submit --watch {task_id}" in said
    task = TaskView.model_validate(client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0])
    assert task.state in {"queued", "running"}
    client.post(f"/api/ai/tasks/{task_id}/cancel")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "ended"),
    [
        (["c\r"], (1, "cancelled", "cancelled")),
        (["l\r"], (130, "running", "the task goes on")),
        ([CTRL_C], (130, "running", "the task goes on")),
        (["w\r", "\x04"], (130, "running", "the task goes on")),  # watches on, then Ctrl-D at the second question
    ],
)
def test_ctrl_c_on_a_terminal_asks_what_to_do_with_the_task(
    stack: Stack,
    media: Path,
    client: httpx.Client,
    task_id: int,
    *,
    answers: list[str],
    ended: tuple[int, str, str],
) -> None:
    film = write_clip(media / "asked" / "film.mp4", size=(320, 240), frames=1500)
    words = ("submit", "upscale", str(film), "--ratio", "2", "--task-id", str(task_id))
    with on_terminal(KINORA, *words, environment=stack.full_environment()) as terminal:
        for answer in answers:
            terminal.wait_for(f"upscale {task_id}")
            while client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]["state"] != "running":
                time.sleep(0.1)
            terminal.press(CTRL_C)
            terminal.wait_for("watch on?")
            terminal.press(answer)
        code, printed = terminal.end()
    assert printed == ""
    task = TaskView.model_validate(client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0])
    assert (code, task.state) == ended[:2]
    assert ended[2] in terminal.shown
    client.post(f"/api/ai/tasks/{task_id}/cancel")


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_its_fields_as_options(service: ServiceName) -> None:
    shown = subprocess.run(
        [KINORA, "submit", service, "--help"],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    for name in request_type(service).model_fields:
        option = "--out" if name == "dist_dir" else f"--{name.replace('_', '-')}"
        assert option in shown.stdout


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], {"category": 1}),
        (["a.png"], {"category": 2, "image_url": "a.png"}),
        (["a.mkv"], {"category": 3, "video_url": "a.mkv"}),
    ],
)
def test_what_a_clip_is_made_from_follows_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], expected: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = with_files(request_type("creation"), [Path(name) for name in files], {})
    assert found == {
        name: str(tmp_path / value) if isinstance(value, str) else value for name, value in expected.items()
    }


def test_a_url_is_passed_on_as_it_is_and_its_result_goes_here() -> None:
    url = "https://cdn.example.com/a.mkv?signature=1"
    assert with_files(request_type("creation"), [url], {}) == {"category": 3, "video_url": url}
    faces = with_files(request_type("facefusion"), [url, Path("b.mp4")], {})
    assert (faces["source_file"], faces["target_file"]) == (url, str(Path("b.mp4").resolve()))
    assert _beside(request_type("upscale"), {"video_url": url}) == Path.cwd()


def test_a_file_that_another_field_replaces_is_the_targets() -> None:
    only = with_files(request_type("facefusion"), ["b.mp4"], {"enhance_only": "1"})
    assert only == {"enhance_only": "1", "target_file": str(Path("b.mp4").resolve())}
    both = with_files(request_type("facefusion"), ["a.png", "b.mp4"], {"enhance_only": "1"})
    assert Path(both["source_file"]).name == "a.png"
    assert set(with_files(request_type("facefusion"), ["a.png"], {})) == {"source_file"}


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:5000"), ("0.0.0.0", "http://127.0.0.1:5000"), ("::1", "http://[::1]:5000")],
)
def test_the_router_is_found_by_the_settings(host: str, url: str) -> None:
    assert router_url(Settings(access=AccessSettings(host=host, token="t"))) == url
