"""A text becomes a clip on a machine without a GPU: from the router to the callback, with a tiny random model."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.creation.aspect import size_for
from shared.demo.clips import facts
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from tests.support.tiny_wan import build_plain

PIXELS = 64 * 32
CALLBACK_SECONDS = 900  # a runner yields to everything else on a busy machine
ACCEPTED = {"err_code": 0, "err_msg": ""}


@pytest.fixture(scope="module")
def creation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Receiver, Path]]:
    """Creation alone, with a draft model in a folder; its client, its backend, and where results go."""
    folder = tmp_path_factory.mktemp("draft")
    model, media = build_plain(folder / "model"), folder / "media"
    media.mkdir()
    environment = {
        "KINORA_SERVICES": "creation",
        "KINORA_CREATION_DRAFT_MODEL": str(model),
        "KINORA_CREATION_PLAN": "draft",
        "KINORA_CREATION_PIXELS": str(PIXELS),
        "KINORA_DEVICE": "cpu",
        "KINORA_PRESET": "ultrafast",
    }
    with Receiver() as receiver:
        stack = Stack(folder / "state", (media,), receiver.url, environment=environment)
        with stack.running(), stack.client() as client:
            yield client, receiver, media


def ask(creation: tuple[httpx.Client, Receiver, Path], task_id: int, **fields: object) -> tuple[Path, dict[str, Any]]:
    """Post a text, wait for its callback; return the clip and the task's details."""
    client, receiver, media = creation
    body = {"task_id": task_id, "category": 1, "dist_dir": str(media / "out")} | fields
    assert client.post("/api/ai/creation", json=body).json() == ACCEPTED
    payload = receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
    assert payload["err_code"] == 0, payload
    rows = client.get(f"/api/ai/tasks/{task_id}", params={"service": "creation"}).raise_for_status().json()
    return media / "out" / payload["video_url"], rows["tasks"][0]["details"]


@pytest.mark.timeout(1800)
def test_a_chinese_text_becomes_a_clip_of_the_asked_rate_shape_and_length(
    creation: tuple[httpx.Client, Receiver, Path],
) -> None:
    fields = {"prompt_cn": "日落时分，一只柴犬在海滩上奔跑", "ng_prompt_cn": "模糊", "guidance": 20, "seed": 11}
    first, details = ask(creation, 1, fps=24, aspect_ratio="16:9", **fields)
    clip = facts(first)
    assert (clip.width, clip.height) == size_for(Fraction(16, 9), PIXELS)
    assert clip.frame_rate == 24
    assert abs(clip.frames - 72) <= 1
    assert details["engine"] == "wan"
    assert details["plan"] == "draft"
    assert details["steps"] == 3
    assert details["seed"] == 11
    assert set(details["ignored_fields"]) == {"ng_prompt_cn", "guidance"}
    assert "guidance" in details["gives_up"]
    upright, _ = ask(creation, 2, fps=8, aspect_ratio="9:16", **fields)  # the model is warm, the text known
    clip = facts(upright)
    assert clip.width < clip.height
    assert clip.frame_rate == 8
    assert abs(clip.frames - 24) <= 1
