"""Every capability with inputs by URL and results in a bucket, as a backend meets them: real services, real servers."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from benchmarks.clips import write_clip
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from tests.support.bucket import BUCKET, BucketServer, bucket_server
from tests.support.faces import frames_of, pair, portrait, save
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


def task(client: httpx.Client, task_id: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/ai/tasks/{task_id}").json()["tasks"][0]
    return found


def test_every_field_of_an_input_takes_a_url_and_every_result_is_in_the_bucket_too(
    open_stack: Stack, backend: Receiver, files: FileServer, bucket: BucketServer, media_here: Path
) -> None:
    def url(path: str) -> str:
        return files.url(f"{path}?{SIGNATURE}")

    posts = [
        ("/api/ai/upscale", {"video_url": url("/clip.mp4"), "ratio": 2}),
        ("/api/ai/interpo", {"video_url": url("/clip.mp4"), "rate": 2}),
        ("/api/ai/creation", {"category": 3, "video_url": url("/clip.mp4")}),
        ("/api/ai/creation", {"category": 2, "image_url": url("/picture.png"), "duration": 1}),
        ("/api/ai/tracking_creation",
         {"image_url": url("/picture.png"), "tracking_points": [[[100, 90], [120, 90]]], "duration": 1}),
        ("/api/ai/facefusion", {"source_file": url("/portrait.png"), "target_file": url("/pair.png")}),
    ]  # fmt: skip
    for task_id, (path, body) in enumerate(posts, start=1):
        folder = media_here / str(task_id)
        assert ask(open_stack, path, task_id=task_id, dist_dir=str(folder), **body)["err_msg"] == ""
    with open_stack.client() as client:
        for task_id in range(1, len(posts) + 1):
            callback = backend.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
            assert callback["err_msg"] == ""
            names = [callback["video_url"], callback["preview_image"], *callback["reference_images"]]
            made = sorted(filter(None, names))
            folder = media_here / str(task_id)
            stored = task(client, task_id)["details"]["stored"]
            assert stored["ok"], stored
            assert sorted(stored["files"]) == made
            for name, place in stored["files"].items():
                key = place.removeprefix(f"s3://{BUCKET}/")
                assert bucket.objects()[key] == (folder / name).read_bytes()

        # The user picks a face of the preview; the generation finds it by the same URL.
        body = posts[-1][1] | {"programe": 1, "reference_face_position": 1}
        folder = media_here / "6"
        assert ask(open_stack, "/api/ai/facefusion", task_id=6, dist_dir=str(folder), **body)["err_msg"] == ""
        result = backend.wait_for(6, timeout_seconds=CALLBACK_SECONDS, count=2).payload
        assert result["err_msg"] == ""
        details = task(client, 6)["details"]
        assert details["audit"]["target_sha256"] == hashlib.sha256(files.files["/pair.png"].content).hexdigest()
        assert details["audit"]["source_sha256"] == hashlib.sha256(files.files["/portrait.png"].content).hexdigest()
        assert details["nsfw"]
        assert "reference" in json.dumps(details["match"]) or details["match"]["nearest_distance"] is not None
        shown = client.get("/api/ai/tasks?limit=500").text
    assert "very-secret" not in shown
    log = open_stack.log.read_text(encoding="utf-8", errors="replace")
    assert "very-secret" not in log
    assert re.search(r"fetched from http://127\.0\.0\.1:\d+/clip\.mp4:", log)


def test_what_is_wrong_with_an_input_comes_with_the_callback(
    open_stack: Stack, backend: Receiver, files: FileServer, media_here: Path
) -> None:
    wrong = [
        (20, "/api/ai/upscale", {"video_url": files.url("/picture.txt"), "ratio": 2}, "answered HTTP 404"),
        (21, "/api/ai/facefusion",
         {"source_file": files.url("/nobody.png"), "target_file": files.url("/pair.png")}, "source_file shows no face"),
        (22, "/api/ai/facefusion",
         {"source_file": files.url("/clip.mp4"), "target_file": files.url("/pair.png")}, "clip.mp4"),
    ]  # fmt: skip
    for task_id, path, body, _ in wrong:
        assert ask(open_stack, path, task_id=task_id, dist_dir=str(media_here / "wrong"), **body)["err_msg"] == ""
    for task_id, _, _, words in wrong:
        callback = backend.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
        assert callback["err_code"] == -1
        assert words in callback["err_msg"]
    refused = ask(open_stack, "/api/ai/upscale", task_id=23, dist_dir=str(media_here / "wrong"), ratio=2,
                  video_url="https://evil.example/a.mp4")  # fmt: skip
    assert refused == {
        "err_code": -1, "err_msg": "video_url: evil.example is not one of the hosts of KINORA_FETCH_HOSTS",
    }  # fmt: skip
    folder = ask(open_stack, "/api/ai/upscale", task_id=23, dist_dir=files.url("/out"), ratio=2,
                 video_url=files.url("/clip.mp4"))  # fmt: skip
    assert "dist_dir must be a local path" in folder["err_msg"]
    assert not list(media_here.rglob(".*"))


def test_the_document_says_that_inputs_may_be_urls(open_stack: Stack) -> None:
    with open_stack.client() as client:
        assert "KINORA_FETCH_HOSTS" in client.get("/docs.json").text
