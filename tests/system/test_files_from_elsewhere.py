"""Every capability with inputs by URL and results in a bucket, as a backend meets them: real services, real servers."""

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from benchmarks.clips import write_clip
from shared import weights
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from tests.support.bucket import BUCKET, BucketServer, bucket_server
from tests.support.faces import difference, frames_of, pair, portrait, read, save
from tests.support.file_server import FileServer, ServedFile, file_server

pytestmark = pytest.mark.slow

CALLBACK_SECONDS = 280  # a runner yields to everything else on a busy machine, and then loads its model
SIGNATURE = "X-Amz-Signature=very-secret"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    folder = tmp_path_factory.mktemp("served")
    across, down = np.meshgrid(np.arange(320), np.arange(180))
    picture = np.stack([across % 256, down, (across * down) % 256], axis=-1).astype(np.uint8)
    Pillow.fromarray(picture).save(folder / "picture.png")
    contents = {
        "/clip.mp4": write_clip(folder / "clip.mp4", size=(48, 32), frames=12, sound=True).read_bytes(),
        "/picture.png": (folder / "picture.png").read_bytes(),
        "/portrait.png": portrait(folder).read_bytes(),
        "/person.mp4": weights.path("clip-single-face").read_bytes(),
        "/pair.png": save(folder / "pair.png", pair()).read_bytes(),
        "/nobody.png": save(folder / "nobody.png", frames_of("clip-no-face", count=1)[0]).read_bytes(),
    }
    with file_server() as server:
        server.files |= {path: ServedFile(content) for path, content in contents.items()}
        yield server


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with bucket_server(tmp_path_factory.mktemp("bucket")) as server:
        yield server


@pytest.fixture(scope="module")
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def media_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def open_stack(
    tmp_path_factory: pytest.TempPathFactory,
    media_here: Path,
    backend: Receiver,
    files: FileServer,
    bucket: BucketServer,
) -> Iterator[Stack]:
    environment = bucket.environment | {
        "KINORA_PRESET": "ultrafast",
        "KINORA_FETCH_HOSTS": f"127.0.0.1:{files.port}",
        "KINORA_FETCH_PRIVATE": "true",
        "KINORA_RESULT_STORE": f"s3://{BUCKET}/made",
    }
    state = tmp_path_factory.mktemp("serve") / "state"
    stack = Stack(state, (media_here,), backend.url, environment=environment)
    with stack.running():
        yield stack


def ask(stack: Stack, path: str, **body: Any) -> dict[str, Any]:
    with stack.client() as client:
        answer: dict[str, Any] = client.post(path, json=body).json()
        return answer


def signed(files: FileServer, path: str) -> str:
    return files.url(f"{path}?{SIGNATURE}")


def task(client: httpx.Client, task_id: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]
    return found


def made(stack: Stack, backend: Receiver, folder: Path, path: str, task_id: int, **body: Any) -> dict[str, Any]:
    """Post a task and return its callback, which must be that of a success."""
    assert ask(stack, path, task_id=task_id, dist_dir=str(folder), **body) == {"err_code": 0, "err_msg": ""}
    callback = backend.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
    assert callback["err_msg"] == ""
    return callback


def texts(fields: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in fields.items() if isinstance(value, str)]


@pytest.mark.parametrize(
    ("task_id", "path", "fields"),
    [
        (1, "/api/ai/upscale", {"video_url": "/clip.mp4", "ratio": 2}),
        (2, "/api/ai/interpo", {"video_url": "/clip.mp4", "rate": 2}),
        (3, "/api/ai/creation", {"category": 3, "video_url": "/clip.mp4"}),
        (4, "/api/ai/creation", {"category": 2, "image_url": "/picture.png", "duration": 1}),
        (5, "/api/ai/tracking_creation",
         {"image_url": "/picture.png", "tracking_points": [[[100, 90], [120, 90]]], "duration": 1}),
        (6, "/api/ai/facefusion", {"source_file": "/portrait.png", "target_file": "/pair.png"}),
        (60, "/api/ai/facefusion",
         {"faces": [{"source_file": "/person.mp4"}, {"source_file": "/portrait.png"}], "face_selector_mode": "many",
          "target_file": "/pair.png"}),
    ],
)  # fmt: skip
def test_an_input_is_fetched_and_its_result_is_in_the_bucket_too(
    open_stack: Stack, backend: Receiver, files: FileServer, bucket: BucketServer, media_here: Path,
    *, task_id: int, path: str, fields: dict[str, Any],
) -> None:  # fmt: skip
    body: dict[str, Any] = {
        name: signed(files, value) if value.startswith("/") else value for name, value in texts(fields)
    }
    body |= {name: value for name, value in fields.items() if not isinstance(value, str)}
    if "faces" in fields:
        body["faces"] = [{"source_file": signed(files, entry["source_file"])} for entry in fields["faces"]]
    folder = media_here / str(task_id)
    callback = made(open_stack, backend, folder, path, task_id, **body)
    names = sorted(filter(None, [callback["video_url"], callback["preview_image"], *callback["reference_images"]]))
    with open_stack.client() as client:
        stored = task(client, task_id)["details"]["stored"]
    assert stored["ok"], stored
    assert sorted(stored["files"]) == names
    for name, place in stored["files"].items():
        assert bucket.objects()[place.removeprefix(f"s3://{BUCKET}/")] == (folder / name).read_bytes()


def test_a_face_picked_in_a_preview_of_a_url_is_found_again_and_what_was_fetched_is_checked_and_noted(
    open_stack: Stack, backend: Receiver, files: FileServer, media_here: Path
) -> None:
    body = {"source_file": signed(files, "/portrait.png"), "target_file": signed(files, "/pair.png")}
    made(open_stack, backend, media_here / "7", "/api/ai/facefusion", 7, face_analyse_order="right-left", **body)
    picked = {"programe": 1, "reference_face_position": 1}
    answer = ask(open_stack, "/api/ai/facefusion", task_id=7, dist_dir=str(media_here / "7"), **body, **picked)
    assert answer["err_msg"] == ""
    result = backend.wait_for(7, timeout_seconds=CALLBACK_SECONDS, count=2).payload
    assert result["err_msg"] == ""
    # Position 1 of what was seen is the man on the left, though in this request's own order it would be the woman.
    changes = difference(read(media_here / "7" / result["video_url"]), pair())
    assert changes[:, :480].mean() > 0.5 > changes[:, 480:].mean()
    with open_stack.client() as client:
        details = task(client, 7)["details"]
        shown = client.get("/api/ai/tasks?limit=500").text
    assert details["audit"]["target_sha256"] == hashlib.sha256(files.files["/pair.png"].content).hexdigest()
    assert details["audit"]["source_sha256"] == hashlib.sha256(files.files["/portrait.png"].content).hexdigest()
    assert details["nsfw"]
    assert "very-secret" not in shown
    log = open_stack.log.read_text(encoding="utf-8", errors="replace")
    assert "very-secret" not in log
    assert re.search(r"fetched from http://127\.0\.0\.1:\d+/pair\.png:", log)


@pytest.mark.parametrize(
    ("task_id", "path", "fields", "words"),
    [
        (20, "/api/ai/upscale", {"video_url": "/missing.mp4", "ratio": 2}, "answered HTTP 404"),
        (21, "/api/ai/facefusion", {"source_file": "/nobody.png", "target_file": "/pair.png"}, "source_file shows no"),
        (22, "/api/ai/creation", {"category": 2, "image_url": "/clip.mp4"}, "clip.mp4"),
    ],
)
def test_what_is_wrong_with_an_input_comes_with_the_callback(
    open_stack: Stack, backend: Receiver, files: FileServer, media_here: Path,
    *, task_id: int, path: str, fields: dict[str, Any], words: str,
) -> None:  # fmt: skip
    body = {name: signed(files, value) if isinstance(value, str) else value for name, value in fields.items()}
    folder = media_here / str(task_id)
    assert ask(open_stack, path, task_id=task_id, dist_dir=str(folder), **body)["err_msg"] == ""
    callback = backend.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
    assert callback["err_code"] == -1
    assert words in callback["err_msg"]
    deadline = time.monotonic() + CALLBACK_SECONDS
    while any(folder.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_can_be_known_is_refused_at_once(open_stack: Stack, files: FileServer, media_here: Path) -> None:
    body = {"task_id": 30, "ratio": 2, "dist_dir": str(media_here / "30"), "video_url": signed(files, "/clip.mp4")}
    for changes, words in (
        ({"video_url": "https://evil.example/a.mp4"}, "evil.example is not one of the hosts of KINORA_FETCH_HOSTS"),
        ({"video_url": files.url("/clip.mp4").replace("//", "//user@")}, "must be an http or https URL"),
        ({"video_url": "ftp://127.0.0.1/clip.mp4"}, "must be a local path"),
        ({"dist_dir": files.url("/out")}, "dist_dir must be a local path"),
    ):
        answer = ask(open_stack, "/api/ai/upscale", **(body | changes))
        assert answer["err_code"] == -1
        assert words in answer["err_msg"]


def test_the_document_says_that_inputs_may_be_urls(open_stack: Stack) -> None:
    with open_stack.client() as client:
        assert "KINORA_FETCH_HOSTS" in client.get("/docs.json").text
