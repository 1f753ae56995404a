"""The wan engine as a backend meets it: every category, router to callback, with a tiny random model."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from shared.demo.clips import facts
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from tests.support import clips
from tests.support.tiny_wan import build_vace

AREA = (64, 32)
STEPS = 2
ACCEPTED = {"err_code": 0, "err_msg": ""}
CALLBACK_SECONDS = 400  # a runner yields to everything else on a busy machine


@dataclass(frozen=True)
class CreationStack:
    """Creation alone, with a generative model in a folder."""

    client: httpx.Client
    receiver: Receiver
    media: Path

    def post(self, task_id: int, **fields: object) -> None:
        body = {"task_id": task_id, "dist_dir": str(self.media / "out")} | fields
        assert self.client.post("/api/ai/creation", json=body).json() == ACCEPTED

    def task(self, task_id: int) -> dict[str, Any]:
        rows = self.client.get(f"/api/ai/tasks/{task_id}").raise_for_status().json()
        task: dict[str, Any] = rows["tasks"][0]
        return task

    def make(self, task_id: int, **fields: object) -> tuple[Path, dict[str, Any]]:
        """Post a task, wait for its callback; return the clip and the task's details."""
        self.post(task_id, **fields)
        payload = self.receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
        assert payload["err_code"] == 0, payload
        details: dict[str, Any] = self.task(task_id)["details"]
        return self.media / "out" / payload["video_url"], details


@pytest.fixture(scope="module")
def creation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CreationStack]:
    folder = tmp_path_factory.mktemp("wan")
    model, media = build_vace(folder / "tiny"), folder / "media"
    media.mkdir()
    environment = {
        "KINORA_SERVICES": "creation",
        "KINORA_CREATION_MODEL": str(model),
        "KINORA_CREATION_PIXELS": str(AREA[0] * AREA[1]),
        "KINORA_CREATION_STEPS": str(STEPS),
        "KINORA_DEVICE": "cpu",
        "KINORA_PRESET": "ultrafast",
        "KINORA_CRF": "0",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "0",  # the pipeline itself must stay off the network
    }
    with Receiver() as receiver:
        stack = Stack(folder / "state", (media,), receiver.url, environment=environment)
        with stack.running(), stack.client() as client:
            yield CreationStack(client, receiver, media)


def pictures(path: Path) -> "np.ndarray[Any, Any]":
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


@pytest.mark.timeout(600)
def test_a_chinese_text_becomes_a_clip_and_its_seed_makes_it_again(creation: CreationStack) -> None:
    fields = {"category": 1, "prompt_cn": "海边的猫", "ng_prompt_cn": "模糊", "guidance": 20, "fps": 16, "movement": 0}
    path, details = creation.make(1, aspect_ratio="2:1", **fields)
    clip = facts(path)
    assert (clip.width, clip.height) == AREA
    assert clip.frame_rate == 16
    assert clip.frames == 48
    assert details["engine"] == "wan"
    assert details["model"] == "tiny"
    assert (details["plan"], details["steps"]) == ("low", STEPS)
    assert details["ignored_fields"] == []
    assert details["seed"] > 0
    again, _ = creation.make(2, aspect_ratio="2:1", seed=details["seed"], **fields)
    assert np.array_equal(pictures(path), pictures(again))


@pytest.mark.timeout(600)
def test_a_picture_becomes_a_clip_of_its_own_shape_with_the_asked_camera(creation: CreationStack) -> None:
    image = creation.media / "图片.png"
    Pillow.effect_noise((32, 64), 60).convert("RGB").save(image)
    path, details = creation.make(3, category=2, image_url=str(image), prompt_cn="", camera="推近", fps=8)
    clip = facts(path)
    assert (clip.width, clip.height) == AREA[::-1]
    assert clip.frame_rate == 8
    assert clip.frames == 24
    assert details["ignored_fields"] == []


def test_references_are_checked_one_by_one(creation: CreationStack) -> None:
    picture = creation.media / "甲.png"
    Pillow.effect_noise((40, 50), 80).convert("RGB").save(picture)
    (creation.media / "c.png").write_text("no picture")

    def refusal(*references: Path) -> str:
        body = {"task_id": 6, "dist_dir": str(creation.media / "out"), "category": 1, "prompt_cn": "两个人"}
        named = {"reference_images": [str(path) for path in references]}
        answer = creation.client.post("/api/ai/creation", json=body | named).json()
        assert answer["err_code"] == -1
        return str(answer["err_msg"])

    assert "reference_images[1]" in refusal(picture, creation.media / "gone.png")
    assert "reference_images[0]" in refusal(Path("/etc/passwd"))
    assert "c.png" in refusal(creation.media / "c.png")
    assert "at most 4 files" in refusal(*[picture] * 5)


@pytest.mark.timeout(600)
def test_a_video_longer_than_one_run_keeps_length_and_sound_and_shows_no_joint(creation: CreationStack) -> None:
    source = clips.clip(creation.media / "in.mp4", seconds=4, rate="16", size=AREA)
    path, details = creation.make(4, category=3, video_url=str(source), prompt_cn="油画", fps=16, movement=4, seed=3)
    clip = facts(path)
    assert clip.sound
    assert (clip.width, clip.height, clip.frames) == (*AREA, 64)
    assert details["ignored_fields"] == ["movement"]
    frames = pictures(path)
    change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    window, overlap = 49, 9
    joint = change[window - overlap - 1 : window]
    assert joint.max() <= np.percentile(np.delete(change, range(window - overlap - 1, window)), 99)


@pytest.mark.timeout(600)
def test_a_cancel_ends_a_clip_between_two_steps(creation: CreationStack) -> None:
    source = clips.clip(creation.media / "long.mp4", seconds=25, rate="8", size=(48, 32), sound=None)
    creation.post(5, category=3, video_url=str(source), fps=8, video_style=1)
    deadline = time.monotonic() + CALLBACK_SECONDS
    while not creation.task(5)["progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert 0 < creation.task(5)["progress"] < 0.9, "steps are reported as they are done"
    creation.client.post("/api/ai/tasks/5/cancel")
    payload = creation.receiver.wait_for(5, timeout_seconds=CALLBACK_SECONDS).payload
    assert (payload["err_code"], payload["err_msg"]) == (-1, "cancelled")
    assert creation.task(5)["state"] == "cancelled"
    assert not list((creation.media / "out").glob("*5_creation*"))
