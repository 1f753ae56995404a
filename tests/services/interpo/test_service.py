"""Frame interpolation as a backend meets it: through the router, on real media, to the callback."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.demo.clips import facts
from shared.testing.callback_receiver import Receiver
from tests.support.clips import tiny_gif

ACCEPTED = {"err_code": 0, "err_msg": ""}
CALLBACK_SECONDS = 280  # a runner yields to everything else on a busy machine, and then loads its model

Post = Callable[..., dict[str, Any]]


@pytest.fixture
def interpo(client: httpx.Client, task_id: int, clip: Path, dist_dir: Path) -> Post:
    """Post an interpolation request; what a test does not name is valid."""

    def send(path: str = "/api/ai/interpo", **changes: object) -> dict[str, Any]:
        body = {"task_id": task_id, "video_url": str(clip), "dist_dir": str(dist_dir), "rate": 2} | changes
        answer = client.post(path, json=body)
        assert answer.status_code == 200
        content: dict[str, Any] = answer.json()
        assert list(content) == ["err_code", "err_msg"]
        return content

    return send


@pytest.mark.parametrize("rate", [2, 6])
def test_a_video_comes_back_with_its_rate_multiplied_and_its_sound(
    interpo: Post, receiver: Receiver, client: httpx.Client, task_id: int, dist_dir: Path, *, rate: int
) -> None:
    assert interpo(rate=rate) == ACCEPTED
    payload = receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
    name = payload["video_url"]
    expected = {"task_id": task_id, "preview_image": "", "reference_images": [], "video_url": name}
    assert payload == expected | ACCEPTED
    assert [path.name for path in dist_dir.iterdir()] == [name]
    assert name.startswith(f"{task_id}_interpo_")
    result = facts(dist_dir / name)
    assert (result.width, result.height, result.frames, result.sound) == (48, 32, 12 * rate, "aac")
    assert result.frame_rate == Fraction(24 * rate)
    [row] = client.get(f"/api/ai/tasks/{task_id}", params={"service": "interpo"}).json()["tasks"]
    assert row["state"] == "succeeded"
    assert row["progress"] == 1
    assert row["details"]["model"].startswith("RIFE 4.0")
    assert sum(row["details"]["pairs"].values()) == 11


def test_an_exact_rate_needs_no_multiple(interpo: Post, receiver: Receiver, task_id: int, dist_dir: Path) -> None:
    assert interpo(rate=0, fps="60000/1001") == ACCEPTED
    payload = receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload
    result = facts(dist_dir / payload["video_url"])
    assert (result.frames, result.frame_rate, result.sound) == (30, Fraction(60000, 1001), "aac")


@pytest.mark.parametrize("rate", [0, 3, 10, "x", None, True, 2.5])
def test_another_rate_is_refused_with_the_allowed_ones(interpo: Post, dist_dir: Path, rate: object) -> None:
    answer = interpo(rate=rate)
    assert answer["err_code"] == -1
    assert "rate" in answer["err_msg"]
    assert "2, 4, 6, 8" in answer["err_msg"]
    assert not dist_dir.exists()


def test_what_go_leaves_out_is_named(interpo: Post) -> None:
    assert "video_url" in interpo(video_url="")["err_msg"]
    assert "dist_dir" in interpo(dist_dir="")["err_msg"]
    assert "task_id" in interpo(task_id=0)["err_msg"]


def test_the_same_request_again_is_accepted_and_runs_once(
    interpo: Post, receiver: Receiver, task_id: int, dist_dir: Path
) -> None:
    assert interpo() == ACCEPTED
    assert interpo() == ACCEPTED
    receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS)
    assert len(list(dist_dir.iterdir())) == 1


def test_text_under_the_name_of_a_video_is_refused(interpo: Post, media: Path) -> None:
    text = media / "in" / "notes.mp4"
    text.parent.mkdir(exist_ok=True)
    text.write_text("not a video")
    answer = interpo(video_url=str(text))
    assert answer["err_code"] == -1
    assert "notes.mp4" in answer["err_msg"]


def test_a_small_file_that_is_weeks_of_work_is_refused_with_the_figure(
    interpo: Post, media: Path, dist_dir: Path
) -> None:
    source = tiny_gif(media / "in" / "cheap.gif", frames=60_000, canvas=(8192, 4320))
    assert source.stat().st_size < 2_000_000
    answer = interpo(video_url=str(source), rate=8)
    assert answer["err_code"] == -1
    assert "cheap.gif is 16,986,931 megapixels of work or more" in answer["err_msg"]
    assert "KINORA_MAX_TASK_MEGAPIXELS allows 16,000,000" in answer["err_msg"]
    assert not dist_dir.exists() or not list(dist_dir.iterdir())
