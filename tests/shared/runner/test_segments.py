"""Long videos under kills and stops: real processes over a real PostgreSQL. The model is a tiny callable."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from shared.queue.client import HELP
from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from tests.support.clips import clip
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService, callbacks

SEGMENTS = 8
FRAMES = 10  # of a segment


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[TinyService]:
    with TinyService(
        tmp_path_factory.mktemp("segments"), receiver, segment_seconds=0.4, drain_seconds=8, preset="ultrafast"
    ) as service:
        film_in(service)
        yield service


def film_in(service: TinyService) -> str:
    """Return the path of 3.2 seconds of picture and sound: eight segments of ten frames."""
    path = service.home / "film.mp4"
    if not path.exists():
        clip(path, seconds=3.2, options=["-g", "15"])
    return str(path)


def post(service: TinyService, task_id: int, *, seconds: float = 0.02, crash_at: float = -1) -> None:
    film = film_in(service)
    assert service.post(task_id, behaviour="video", note=film, seconds=seconds, crash_at=crash_at) == ""


def segments(service: TinyService, task_id: int) -> dict[str, Any]:
    found: dict[str, Any] = service.task(task_id)["details"].get("segments", {})
    return found


def wait_for_segments(service: TinyService, task_id: int, done: int) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := segments(service, task_id)).get("done", 0) < done:
        assert time.monotonic() < deadline, service.task(task_id)
        time.sleep(0.02)
    return found


def kill_within_a_segment(service: TinyService, task_id: int) -> None:
    """Kill the runner while one segment is being made: with the one before still at the encoder it would repeat two."""
    pid = service.runner_pid()
    running = (
        "SELECT number FROM kinora_segments segment JOIN kinora_tasks run ON run.id = task"
        " WHERE task_id = %s AND segment.state = 'running'"
    )
    while True:
        os.kill(pid, signal.SIGSTOP)
        if len(service.sql(running, task_id)) == 1:
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGCONT)
        assert not service.task(task_id)["finished_at"], "the film was too short"
        time.sleep(0.01)


def hidden(service: TinyService, task_id: int) -> list[Any]:
    """Return the files and rows that are left of a task, waiting a little for what is being removed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        left: list[Any] = [name for name in service.files() if name.startswith(f".{task_id}_")]
        left += service.sql(
            "SELECT number FROM kinora_segments JOIN kinora_tasks run ON run.id = task WHERE task_id = %s", task_id
        )
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def contents(path: Path) -> list[Any]:
    with av.open(path) as container:
        found: list[Any] = [(f.pts, f.to_ndarray(format="rgb24").tobytes()) for f in container.decode(video=0)]
    with av.open(path) as container:
        return found + [(p.pts, p.duration, bytes(p)) for p in container.demux(audio=0) if p.size]


def result(service: TinyService, receiver: Receiver, task_id: int) -> Path:
    [callback] = callbacks(receiver, task_id)
    assert callback["err_code"] == 0, callback["err_msg"]
    return service.out / str(callback["video_url"])


@pytest.fixture(scope="module")
def undisturbed(service: TinyService, receiver: Receiver) -> list[Any]:
    post(service, 1, seconds=0)
    found = contents(result(service, receiver, 1))
    assert hidden(service, 1) == []
    details = service.task(1)["details"]
    assert details["segments"] | {"by": {}} == {
        "done": SEGMENTS, "running": 0, "total": SEGMENTS, "repeated": 0, "taken_over": 0, "by": {},
    }  # fmt: skip
    assert sum(details["segments"]["by"].values()) == SEGMENTS
    assert details["counted"] == details["frames"] == SEGMENTS * FRAMES
    return found


def test_a_killed_runner_s_successor_goes_on_after_the_last_finished_segment(
    service: TinyService, receiver: Receiver, undisturbed: list[Any]
) -> None:
    post(service, 2)
    found = wait_for_segments(service, 2, 3)
    assert found["total"] == SEGMENTS
    kill_within_a_segment(service, 2)
    assert contents(result(service, receiver, 2)) == undisturbed
    task = service.task(2)
    made = task["details"]["segments"]
    assert made["taken_over"] >= 3
    assert made["repeated"] <= 1
    assert task["attempt"] == 2
    assert len(made["by"]) == 2
    assert hidden(service, 2) == []


@pytest.mark.slow
def test_twelve_kills_in_different_segments_do_not_fail_a_task_and_each_repeats_one_at_most(
    service: TinyService, receiver: Receiver, undisturbed: list[Any]
) -> None:
    """More kills than a task outlives that gets nowhere."""
    post(service, 3, seconds=0.03)
    rng, killed = random.Random(3), 0
    while not receiver.of(3) and killed < 12:
        service.wait_until(3, "running")
        time.sleep(rng.uniform(0.2, 0.8))
        if service.task(3)["state"] == "running":
            os.kill(service.runner_pid(), signal.SIGKILL)
            killed += 1
    assert contents(result(service, receiver, 3)) == undisturbed
    assert service.task(3)["details"]["segments"]["repeated"] <= killed
    assert service.sql("SELECT crashes FROM kinora_tasks WHERE task_id = 3") == [{"crashes": 0}]


def test_a_segment_that_crashes_its_runner_three_times_fails_the_task_with_its_frames(
    service: TinyService, receiver: Receiver
) -> None:
    post(service, 4, seconds=0, crash_at=1.3)
    [callback] = callbacks(receiver, 4)
    assert callback["err_code"] == -1
    assert "3 times" in callback["err_msg"]
    assert "frames 30-39" in callback["err_msg"]
    assert service.task(4)["attempt"] == 3
    assert hidden(service, 4) == []


def test_a_running_task_that_is_cancelled_leaves_no_segment(service: TinyService, receiver: Receiver) -> None:
    post(service, 5, seconds=0.05)
    wait_for_segments(service, 5, 2)
    assert service.cancel(5) == ""
    [callback] = callbacks(receiver, 5)
    assert callback["err_msg"] == "cancelled"
    assert hidden(service, 5) == []


def test_a_stop_waits_for_the_running_segment_and_no_longer(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    with TinyService(
        tmp_path_factory.mktemp("stop"), receiver, segment_seconds=0.4, drain_seconds=60, preset="ultrafast"
    ) as service:
        post(service, 6, seconds=0.06)
        wait_for_segments(service, 6, 2)
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < PATIENCE_SECONDS / 3
        assert not receiver.of(6)
        kept = [name for name in service.files() if "-s-" in name]
        assert 3 <= len(kept) < SEGMENTS
        service.start()
        result(service, receiver, 6)
        made = service.task(6)["details"]["segments"]
        assert made["taken_over"] == len(kept)
        assert made["repeated"] == 0
        assert service.sql("SELECT crashes FROM kinora_tasks WHERE task_id = 6") == [{"crashes": 0}]


def test_the_time_limit_counts_the_work_of_all_attempts(service: TinyService, receiver: Receiver) -> None:
    post(service, 9, seconds=0.3)
    wait_for_segments(service, 9, 1)
    service.sql("UPDATE kinora_segments SET seconds = 1e6 WHERE state = 'done'")  # as after a long time
    os.kill(service.runner_pid(), signal.SIGKILL)
    [callback] = callbacks(receiver, 9)
    assert "longer than its limit" in callback["err_msg"]
    assert service.task(9)["attempt"] == 2
    assert hidden(service, 9) == []


@pytest.mark.slow
def test_a_segment_survives_everything_killed_at_once(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    with TinyService(tmp_path_factory.mktemp("all"), receiver, segment_seconds=0.4, preset="ultrafast") as service:
        post(service, 11, seconds=0.05)
        wait_for_segments(service, 11, 3)
        service.kill()
        for process in service.left_over():
            processes.send(process, signal.SIGKILL)
        service.start()
        result(service, receiver, 11)
        assert service.task(11)["details"]["segments"]["taken_over"] >= 3


def test_a_film_whose_segments_follow_from_each_other_is_the_same_after_a_kill_and_calls_nobody(
    service: TinyService, receiver: Receiver
) -> None:
    film = film_in(service)
    service.post(12, behaviour="faces", note=film)
    undisturbed = contents(result(service, receiver, 12))
    service.post(13, behaviour="faces", note=film, seconds=0.05)
    wait_for_segments(service, 13, 3)
    called = (
        "SELECT job.id FROM procrastinate_jobs job JOIN kinora_tasks run ON run.id::text = args->>'id'"
        " WHERE task_name = %s AND task_id = 13"
    )
    assert service.sql(called, HELP) == []
    kill_within_a_segment(service, 13)
    assert contents(result(service, receiver, 13)) == undisturbed
    one, two = (service.task(number)["details"] for number in (12, 13))
    assert two["segments"]["taken_over"] >= 3
    assert two["segments"]["repeated"] <= 1
    differ = {"segments", "audit"}
    assert {name: one[name] for name in one.keys() - differ} == {name: two[name] for name in two.keys() - differ}
    assert one["match"]["tracks"][0]["swapped_frames"] == SEGMENTS * FRAMES
    assert hidden(service, 13) == []


def test_a_film_in_a_style_that_remembers_is_the_same_after_a_kill(service: TinyService, receiver: Receiver) -> None:
    film = film_in(service)
    service.post(14, behaviour="restyle", note=film)
    undisturbed = contents(result(service, receiver, 14))
    service.post(15, behaviour="restyle", note=film, seconds=0.2)
    wait_for_segments(service, 15, 3)
    kill_within_a_segment(service, 15)
    assert contents(result(service, receiver, 15)) == undisturbed
    one, two = (service.task(number)["details"] for number in (14, 15))
    assert two["segments"]["taken_over"] >= 3
    assert two["segments"]["repeated"] <= 1
    assert {**one, "segments": {}} == {**two, "segments": {}}
    assert hidden(service, 15) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)  # twenty starts of a runner with its libraries; a busy machine takes its time
@pytest.mark.parametrize("behaviour", ["upscale", "interpo", "faces", "restyle"])
def test_twenty_kills_at_random_moments_change_nothing_of_a_minute_of_film(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, behaviour: str
) -> None:
    """Each repeats one segment at most; pictures, times and sound are those of the film without kills."""
    kills, base = 20, {"upscale": 100, "interpo": 200, "faces": 300, "restyle": 400}[behaviour]
    home = tmp_path_factory.mktemp(behaviour)
    with TinyService(home, receiver, segment_seconds=1, preset="ultrafast", creation_max_seconds=60) as service:
        film = str(clip(service.home / "minute.mp4", seconds=60, rate="5", size=(64, 48), options=["-g", "7"]))
        service.post(base, behaviour=behaviour, note=film)
        undisturbed = contents(result(service, receiver, base))
        service.post(base + 1, behaviour=behaviour, note=film, seconds=0.25)
        rng, killed = random.Random(base), 0
        while killed < kills:
            pid = service.runner_pid()
            if killed % 3 == 0:  # on the busiest machine, too, some attempts get a segment further
                wait_for_segments(service, base + 1, segments(service, base + 1).get("done", 0) + 1)
            elif killed % 3 == 1:  # the others are killed wherever they are, also while they start
                service.wait_until(base + 1, "running")
            time.sleep(rng.uniform(0, 2))
            runner = processes.live(pid)
            killed += runner is not None and processes.send(runner, signal.SIGKILL)
            assert not receiver.of(base + 1), "the film was too short for so many kills"
        receiver.wait_for(base + 1, timeout_seconds=5 * PATIENCE_SECONDS)
        assert contents(result(service, receiver, base + 1)) == undisturbed
        made = service.task(base + 1)["details"]["segments"]
        assert (made["done"], made["total"]) == (60, 60)
        assert killed == kills
        assert made["repeated"] <= kills
        assert hidden(service, base + 1) == []
