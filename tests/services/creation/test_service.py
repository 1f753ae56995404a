"""Creation as a backend meets it: through the router, on real media, to the callback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from shared.demo.clips import facts
from shared.testing.callback_receiver import Receiver

ACCEPTED = {"err_code": 0, "err_msg": ""}
CALLBACK_SECONDS = 280  # a runner yields to everything else on a busy machine, and then loads its model

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def picture(media: Path) -> Path:
    across, down = np.meshgrid(np.arange(320), np.arange(180))
    path = media / "in" / "图片 🎨 a.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.stack([across % 256, down, (across * down) % 256], axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def ask(client: httpx.Client, task_id: int, dist_dir: Path) -> Ask:
    def send(**fields: object) -> dict[str, Any]:
        answer = client.post("/api/ai/creation", json={"task_id": task_id, "dist_dir": str(dist_dir)} | fields)
        assert answer.status_code == 200
        content: dict[str, Any] = answer.json()
        assert list(content) == ["err_code", "err_msg"]
        return content

    return send


def callback(receiver: Receiver, task_id: int) -> dict[str, Any]:
    """Wait for a success."""
    payload = receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
    assert payload["err_code"] == 0, payload
    return payload


def details(client: httpx.Client, task_id: int) -> dict[str, Any]:
    rows = client.get(f"/api/ai/tasks/{task_id}", params={"service": "creation"}).raise_for_status().json()
    found: dict[str, Any] = rows["tasks"][0]["details"]
    return found


def test_a_picture_becomes_a_clip_and_the_task_tells_its_seed(  # noqa: PLR0917  # fixtures
    ask: Ask, client: httpx.Client, receiver: Receiver, task_id: int, dist_dir: Path, picture: Path
) -> None:
    # As the Go backend sends it: every field, those that were not set as zero values.
    body = {
        "category": 2, "image_url": str(picture), "video_url": "", "prompt_cn": "", "prompt_en": "",
        "ng_prompt_cn": "", "ng_prompt_en": "", "fps": 8, "movement": 0, "guidance": 0,
        "camera": "推近，pan left", "aspect_ratio": "16：9", "seed": 0, "video_style": 0,
    }  # fmt: skip
    assert ask(**body) == ACCEPTED
    payload = callback(receiver, task_id)
    result = facts(dist_dir / payload["video_url"])
    assert (result.width, result.height, result.frames) == (1024, 576, 24)
    found = details(client, task_id)
    assert found["engine"] == "classic"
    assert found["seed"] > 0


def test_a_video_is_redrawn_with_its_sound(
    ask: Ask, receiver: Receiver, task_id: int, dist_dir: Path, clip: Path
) -> None:
    assert ask(category="3", video_url=str(clip), video_style=2, fps=12) == ACCEPTED
    payload = callback(receiver, task_id)
    result = facts(dist_dir / payload["video_url"])
    assert result.sound
    assert abs(result.frames - 6) <= 1


@pytest.mark.parametrize("path", ["/api/ai/tracking_creation", "/api/ai/traking_creation"])
def test_a_picture_moves_along_a_drawn_path(  # noqa: PLR0917  # fixtures
    path: str, client: httpx.Client, receiver: Receiver, task_id: int, dist_dir: Path, picture: Path
) -> None:
    body = {
        "task_id": task_id, "image_url": str(picture), "fps": 8, "movement": 2, "camera": "",
        "tracking_points": [[[100, 90], [140, 90], [160, 60]]], "dist_dir": str(dist_dir),
    }  # fmt: skip
    assert client.post(path, json=body).json() == ACCEPTED
    result = facts(dist_dir / callback(receiver, task_id)["video_url"])
    assert (result.width, result.height, result.frames) == (1024, 576, 24)
    found = details(client, task_id)
    assert found["ignored_fields"] == ["movement"]


def test_a_path_that_begins_outside_of_its_picture_is_refused(
    client: httpx.Client, task_id: int, dist_dir: Path, picture: Path
) -> None:
    body = {"task_id": task_id, "image_url": str(picture), "dist_dir": str(dist_dir)}
    answer = client.post("/api/ai/tracking_creation", json=body | {"tracking_points": [[[500, 90], [140, 90]]]}).json()
    assert answer["err_code"] == -1
    assert "path 1 begins at 500,90, outside of the picture of 320x180 pixels" in answer["err_msg"]


def test_a_text_is_refused_at_once_with_what_it_would_need(ask: Ask) -> None:
    answer = ask(category=1, prompt_cn="海边的猫")
    assert answer["err_code"] == -1
    assert "text-to-video" in answer["err_msg"]


@pytest.mark.parametrize("size", [(1, 1), (20_000, 20_000)])
def test_a_picture_of_an_absurd_size_is_refused(ask: Ask, media: Path, size: tuple[int, int]) -> None:
    path = media / "in" / f"{size[0]}.png"
    Pillow.new("1", size).save(path)
    answer = ask(category=2, image_url=str(path))
    assert answer["err_code"] == -1
    assert answer["err_msg"]


def test_a_video_given_as_a_picture_is_refused(ask: Ask, clip: Path) -> None:
    assert ask(category=2, image_url=str(clip))["err_code"] == -1
