"""Upscaling as a backend meets it: through the router, on real media, to the callback."""

import signal
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.clips import write_clip
from shared.demo.clips import facts
from shared.testing.callback_receiver import ReceivedCallback, Receiver
from shared.testing.processes import command
from shared.testing.stack import Stack

CALLBACK_KEYS = ["task_id", "preview_image", "reference_images", "video_url", "err_code", "err_msg"]
ACCEPTED = {"err_code": 0, "err_msg": ""}
CALLBACK_SECONDS = 280  # a runner yields to everything else on a busy machine, and then loads its model


@pytest.fixture(scope="module")
def long_clip(media: Path) -> Path:
    """Long enough that something can happen while it is worked on."""
    return write_clip(media / "in" / "long.mp4", size=(160, 96), frames=400)


Post = Callable[..., dict[str, Any]]


def task(client: httpx.Client, task_id: int) -> dict[str, Any]:
    rows: dict[str, Any] = (
        client.get(f"/api/ai/tasks/{task_id}", params={"service": "upscale"}).raise_for_status().json()
    )
    return rows["tasks"][0]  # type: ignore[no-any-return]


def wait_for(condition: Callable[[], object], seconds: float = CALLBACK_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def everything_in(folder: Path) -> list[str]:
    """Hidden files too."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def callback(receiver: Receiver, task_id: int, *, count: int = 1) -> ReceivedCallback:
    return receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS, count=count)


# One task, from request to result


@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
def test_a_video_comes_back_in_its_new_size_with_every_frame_and_its_sound(
    post: Post, receiver: Receiver, task_id: int, dist_dir: Path, ratio: int
) -> None:
    assert post(ratio=ratio) == ACCEPTED
    payload = callback(receiver, task_id).payload
    assert list(payload) == CALLBACK_KEYS
    name = payload["video_url"]
    expected = {"task_id": task_id, "preview_image": "", "reference_images": [], "video_url": name}
    assert payload == expected | ACCEPTED
    assert everything_in(dist_dir) == [name]
    assert str(task_id) in name
    result = facts(dist_dir / name)
    assert (result.width, result.height, result.frames, result.sound) == (48 * ratio, 32 * ratio, 12, "aac")
    assert result.frame_rate == Fraction(24)


def test_an_exact_size_needs_no_ratio(
    post: Post, client: httpx.Client, receiver: Receiver, task_id: int, dist_dir: Path
) -> None:
    assert post(ratio=0, height=48) == ACCEPTED
    result = facts(dist_dir / callback(receiver, task_id).payload["video_url"])
    assert (result.width, result.height, result.frames, result.sound) == (72, 48, 12, "aac")
    assert task(client, task_id)["details"]["size"] == "72x48"


def test_a_size_beyond_four_times_the_source_is_refused_at_once(post: Post, dist_dir: Path) -> None:
    answer = post(ratio=None, width=48 * 4 + 2)
    assert answer["err_code"] == -1
    assert "192x128" in answer["err_msg"]
    assert everything_in(dist_dir) == []


@pytest.mark.parametrize("path", ["/api/ai/upcale", "/api/ai/upscale/"])
def test_the_misspelt_path_of_an_earlier_service_and_a_trailing_slash_are_answered(
    post: Post, receiver: Receiver, task_id: int, path: str
) -> None:
    assert post(path) == ACCEPTED
    assert callback(receiver, task_id).payload["err_code"] == 0


def test_a_number_may_arrive_as_digits_and_unknown_fields_are_ignored(
    post: Post, receiver: Receiver, task_id: int
) -> None:
    assert post(task_id=str(task_id), ratio="2", prompt_cn="", fps=0, whatever=[1]) == ACCEPTED
    assert callback(receiver, task_id).payload["task_id"] == task_id


def test_a_finished_task_tells_its_whole_life(
    post: Post, client: httpx.Client, receiver: Receiver, task_id: int
) -> None:
    post()
    payload = callback(receiver, task_id).payload
    wait_for(lambda: task(client, task_id)["callback"]["state"] == "delivered")
    row = task(client, task_id)
    assert (row["service"], row["kind"], row["task_id"], row["state"]) == ("upscale", "generate", task_id, "succeeded")
    assert (row["progress"], row["attempt"], row["result"]) == (1, 1, payload)
    assert row["queue_position"] is None
    assert row["eta_seconds"] is None
    assert row["callback"]["attempts"] == 1
    assert row["details"]["work"] == {"frames": 12, "megapixels": 0.8}
    assert row["created_at"] <= row["started_at"] <= row["finished_at"]
    assert any("animevideov3" in str(value) for value in row["details"].values()), row["details"]


def test_an_unknown_task_is_not_found_and_says_so(client: httpx.Client) -> None:
    answer = client.get("/api/ai/tasks/999999999")
    assert answer.status_code == 404
    assert answer.json()["err_code"] == -1
    assert answer.json()["err_msg"]


# While it runs


@pytest.fixture
def running(post: Post, client: httpx.Client, task_id: int, long_clip: Path) -> Iterator[int]:
    """A task that is being worked on; it is cancelled at the end of the test."""
    assert post(video_url=str(long_clip)) == ACCEPTED
    wait_for(lambda: task(client, task_id)["progress"] > 0)
    yield task_id
    client.post(f"/api/ai/tasks/{task_id}/cancel")
    wait_for(lambda: task(client, task_id)["state"] not in {"queued", "running"})


def test_progress_has_at_least_ten_values_and_never_falls(client: httpx.Client, running: int) -> None:
    seen = [task(client, running)["progress"]]
    deadline = time.monotonic() + 120
    while len(set(seen)) < 10 and time.monotonic() < deadline:
        time.sleep(0.1)
        row = task(client, running)
        seen.append(row["progress"])
        if row["state"] != "running":
            break
    assert len(set(seen)) >= 10, seen
    assert seen == sorted(seen)
    assert all(0 <= value <= 1 for value in seen)


def test_a_waiting_task_knows_its_place_and_a_running_one_when_it_will_end(
    client: httpx.Client, running: int, clip: Path, dist_dir: Path
) -> None:
    waiting = running + 1_000_000
    body = {"task_id": waiting, "video_url": str(clip), "dist_dir": str(dist_dir), "ratio": 2}
    assert client.post("/api/ai/upscale", json=body).json() == ACCEPTED
    assert task(client, waiting)["queue_position"] == 1
    assert task(client, waiting)["details"]["work"]["frames"] == 12
    wait_for(lambda: (task(client, running)["eta_seconds"] or 0) > 0)
    client.post(f"/api/ai/tasks/{waiting}/cancel")


def test_a_cancel_ends_a_running_task_within_ten_seconds_and_leaves_nothing(
    client: httpx.Client, receiver: Receiver, running: int, dist_dir: Path
) -> None:
    assert client.post(f"/api/ai/tasks/{running}/cancel").json() == ACCEPTED
    wait_for(lambda: task(client, running)["state"] == "cancelled", seconds=10)
    payload = callback(receiver, running).payload
    assert payload["err_code"] == -1
    assert "cancelled" in payload["err_msg"]
    assert everything_in(dist_dir) == []


def test_a_cancel_reaches_a_waiting_task(
    client: httpx.Client, receiver: Receiver, running: int, clip: Path, dist_dir: Path
) -> None:
    waiting = running + 1_000_000
    body = {"task_id": waiting, "video_url": str(clip), "dist_dir": str(dist_dir), "ratio": 2}
    client.post("/api/ai/upscale", json=body)
    assert client.post(f"/api/ai/tasks/{waiting}/cancel").json() == ACCEPTED
    payload = callback(receiver, waiting).payload
    assert (payload["err_code"], payload["task_id"]) == (-1, waiting)


# Identity


def test_the_same_body_again_while_it_runs_is_accepted_and_runs_once(
    post: Post, client: httpx.Client, running: int, long_clip: Path
) -> None:
    before = task(client, running)["id"]
    assert post(video_url=str(long_clip), ratio=2.0) == ACCEPTED
    assert task(client, running)["id"] == before


def test_another_body_under_a_running_task_id_is_rejected_with_the_reason(
    post: Post, running: int, long_clip: Path
) -> None:
    answer = post(video_url=str(long_clip), ratio=3)
    assert answer["err_code"] == -1
    assert "task_id" in answer["err_msg"]
    assert str(running) in answer["err_msg"]


def test_the_same_body_after_success_delivers_the_stored_callback_again_under_a_new_key(
    post: Post, receiver: Receiver, task_id: int, dist_dir: Path
) -> None:
    post()
    first = callback(receiver, task_id)
    assert post() == ACCEPTED
    second = callback(receiver, task_id, count=2)
    assert first.body == second.body
    assert first.key != second.key
    assert len(everything_in(dist_dir)) == 1


def test_the_same_body_after_success_runs_again_when_its_file_is_gone(
    post: Post, receiver: Receiver, task_id: int, dist_dir: Path
) -> None:
    post()
    (dist_dir / callback(receiver, task_id).payload["video_url"]).unlink()
    assert post() == ACCEPTED
    assert (
        everything_in(dist_dir) == [] or (dist_dir / callback(receiver, task_id, count=2).payload["video_url"]).exists()
    )
    assert (dist_dir / callback(receiver, task_id, count=2).payload["video_url"]).exists()


def test_another_body_after_the_end_is_a_new_job_and_overwrites_nothing(
    post: Post, receiver: Receiver, task_id: int, dist_dir: Path
) -> None:
    post()
    callback(receiver, task_id)
    assert post(ratio=3) == ACCEPTED
    callback(receiver, task_id, count=2)
    assert len(everything_in(dist_dir)) == 2


def test_a_cancelled_task_runs_again_when_it_is_posted_again(
    post: Post, client: httpx.Client, receiver: Receiver, running: int, long_clip: Path
) -> None:
    client.post(f"/api/ai/tasks/{running}/cancel")
    callback(receiver, running)
    assert post(video_url=str(long_clip)) == ACCEPTED
    wait_for(lambda: task(client, running)["state"] == "running")


# The backend misbehaves


def test_a_refused_callback_comes_again_under_the_same_key(post: Post, receiver: Receiver, task_id: int) -> None:
    receiver.behave = lambda delivery: "ok" if len(receiver.of(delivery.payload["task_id"])) else "err_code -1"
    post()
    accepted = callback(receiver, task_id)
    refused = receiver.of(task_id)[0]
    assert (refused.key, refused.body) == (accepted.key, accepted.body)


# Stopping


@pytest.mark.timeout(900)  # on a machine that is busy with other things
def test_sigterm_lets_the_running_task_finish_and_its_callback_is_not_lost(
    tmp_path: Path, receiver: Receiver, task_id: int
) -> None:
    media = tmp_path / "media"
    clip = write_clip(media / "clip.mp4", size=(96, 64), frames=150)
    body = {"task_id": task_id, "video_url": str(clip), "dist_dir": str(media / "out"), "ratio": 2}
    stack = Stack(tmp_path / "state", (media,), receiver.url, environment={"KINORA_DRAIN_SECONDS": "600"})
    try:
        with stack.start().wait_ready().client() as client:
            assert client.post("/api/ai/upscale", json=body).json() == ACCEPTED
            wait_for(lambda: task(client, task_id)["progress"] > 0)
        assert stack.process is not None
        stack.process.send_signal(signal.SIGTERM)
        assert stack.process.wait(660) == 0, stack.log_tail()
        assert [command(process) for process in stack.processes()] == []
        [name] = everything_in(media / "out")
        if not receiver.of(task_id):
            stack.start().wait_ready()
        payload = callback(receiver, task_id).payload
        assert (payload["err_code"], payload["video_url"]) == (0, name)
        assert facts(media / "out" / name).frames == 150
    finally:
        stack.stop()
