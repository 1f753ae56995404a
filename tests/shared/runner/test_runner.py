"""Runners: real processes over a real PostgreSQL, killed, wedged, drained and fenced. The model is a tiny callable."""

import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from shared.process.file_lock import FileLock
from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[TinyService]:
    with TinyService(tmp_path_factory.mktemp("run"), receiver, drain_seconds=8) as service:
        yield service


def callbacks(receiver: Receiver, task_id: int, seconds: float = PATIENCE_SECONDS) -> list[dict[str, object]]:
    """Wait for the first callback, and a moment for a second one that should not come."""
    receiver.wait_for(task_id, timeout_seconds=seconds)
    time.sleep(0.3)
    return [delivery.payload for delivery in receiver.of(task_id)]


def test_a_task_runs_to_its_result_and_its_callback(service: TinyService, receiver: Receiver) -> None:
    assert service.post(1, note="你好 🎬") == ""
    [callback] = callbacks(receiver, 1)
    assert list(callback) == ["task_id", "preview_image", "reference_images", "video_url", "err_code", "err_msg"]
    assert callback["err_code"] == 0
    name = str(callback["video_url"])
    assert (service.out / name).read_text() == "你好 🎬"
    task = service.task(1)
    assert (task["state"], task["progress"], task["attempt"]) == ("succeeded", 1, 1)
    assert task["details"] == {"model": 2.0}
    assert task["result"] == callback
    assert not any((service.state / "work").iterdir())


def test_progress_is_reported_often_and_never_falls(service: TinyService, receiver: Receiver) -> None:
    service.post(2, seconds=2)
    seen = []
    while not receiver.of(2):
        seen.append(service.task(2)["progress"])
        time.sleep(0.05)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 4


def test_a_pipeline_that_fails_says_why_and_leaves_nothing(service: TinyService, receiver: Receiver) -> None:
    before = service.files()
    service.post(3, behaviour="fail")
    service.post(4, behaviour="break", note="secret")
    [failed], [broken] = callbacks(receiver, 3), callbacks(receiver, 4)
    assert failed["err_code"] == broken["err_code"] == -1
    assert "nowhere" in str(failed["err_msg"])
    assert "ZeroDivisionError" in str(broken["err_msg"])
    assert "secret" not in str(broken["err_msg"])
    assert service.files() == before


def test_a_killed_runner_has_its_job_running_again_at_once(service: TinyService, receiver: Receiver) -> None:
    service.post(5, seconds=1.5)
    service.wait_until(5, "running")
    os.kill(service.runner_pid(), signal.SIGKILL)
    [callback] = callbacks(receiver, 5)
    assert callback["err_code"] == 0
    assert "-2_text" in str(callback["video_url"])
    assert [name for name in service.files() if name.startswith((".5_", "5_"))] == [callback["video_url"]]


def test_a_job_that_kills_its_runner_three_times_fails_with_that_reason(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(6, behaviour="crash")
    [callback] = callbacks(receiver, 6)
    assert callback["err_code"] == -1
    assert "3 times" in str(callback["err_msg"])
    assert service.task(6)["attempt"] == 3
    service.post(7)
    assert callbacks(receiver, 7)[0]["err_code"] == 0


def test_files_that_a_dead_attempt_published_are_swept(service: TinyService, receiver: Receiver) -> None:
    service.post(8, behaviour="publish_crash")
    [callback] = callbacks(receiver, 8)
    assert callback["err_code"] == -1
    assert not [name for name in service.files() if name.startswith(("8_", ".8_"))]


def test_a_running_task_is_cancelled_with_its_callback(service: TinyService, receiver: Receiver) -> None:
    service.post(9, seconds=3)
    service.wait_until(9, "running", progress=0.05)
    assert service.cancel(9) == ""
    [callback] = callbacks(receiver, 9)
    assert (callback["err_code"], callback["err_msg"]) == (-1, "cancelled")
    assert service.task(9)["state"] == "cancelled"
    assert not [name for name in service.files() if name.startswith(("9_", ".9_"))]


def test_a_task_beyond_its_time_limit_fails(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> None:
    with TinyService(tmp_path_factory.mktemp("limit"), receiver, task_timeout_seconds=1) as service:
        service.post(10, seconds=60)
        [callback] = callbacks(receiver, 10)
        assert callback["err_code"] == -1
        assert "1 second" in str(callback["err_msg"])


def test_a_wedged_pipeline_does_not_outlive_its_cancel(service: TinyService, receiver: Receiver) -> None:
    pid = service.runner_pid()
    service.post(11, behaviour="wedge", seconds=60)
    service.wait_until(11, "running")
    service.cancel(11)
    [callback] = callbacks(receiver, 11)
    assert callback["err_msg"] == "cancelled"
    service.post(12)
    assert callbacks(receiver, 12)[0]["err_code"] == 0
    assert service.runner_pid() != pid


def test_a_runner_that_is_stopped_does_not_outlive_the_cancel_of_its_task(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(18, seconds=600)
    service.wait_until(18, "running")
    os.kill(pid := service.runner_pid(), signal.SIGSTOP)
    service.cancel(18)
    [callback] = callbacks(receiver, 18)
    assert callback["err_msg"] == "cancelled"
    assert service.task(18)["attempt"] == 1
    assert service.runner_pid() != pid


def test_an_attempt_that_lost_its_fence_changes_nothing(service: TinyService, receiver: Receiver) -> None:
    service.post(13, seconds=2)
    service.wait_until(13, "running", progress=0.05)
    service.sql("UPDATE kinora_tasks SET attempt = attempt + 1 WHERE task_id = 13")  # a successor claimed it
    pid = service.runner_pid()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    # The runner is gone without a word: no file, no end, no callback, and the job is its successor's.
    assert not psutil.pid_exists(pid)
    assert not [name for name in service.files() if name.startswith("13_") and "-1_" in name]
    [callback] = callbacks(receiver, 13)
    assert callback["err_code"] == 0
    assert "-3_text" in str(callback["video_url"])


def test_a_preview_does_not_wait_behind_a_generation(service: TinyService, receiver: Receiver) -> None:
    service.post(14, seconds=300)
    service.wait_until(14, "running")
    assert service.post(14, kind="preview", note="look") == ""
    assert receiver.wait_for(14, timeout_seconds=PATIENCE_SECONDS).payload["err_code"] == 0
    assert {task["kind"]: task["state"] for task in service.tasks(14)} == {
        "generate": "running",
        "preview": "succeeded",
    }
    assert service.ask("memo", key="tiny", task_id=14) == {"note": "look"}
    assert service.ask("memo", key="tiny", task_id=15) is None
    assert service.ask("memo", key="tiny") == {"note": "look"}
    service.cancel(14)
    receiver.wait_for(14, timeout_seconds=PATIENCE_SECONDS, count=2)


def test_postgres_killed_while_a_job_runs_costs_neither_job_nor_callback(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(16, seconds=2)
    service.wait_until(16, "running")
    os.kill(service.postgres_pid(), signal.SIGKILL)
    [callback] = callbacks(receiver, 16)
    assert callback["err_code"] == 0
    assert service.task(16)["attempt"] == 1  # it was not run again


def test_a_job_that_ends_while_the_storage_is_away_waits_for_it(service: TinyService, receiver: Receiver) -> None:
    service.post(17, seconds=4)
    service.wait_until(17, "running")
    with processes.suspended(service.postgres_pid()):  # it hangs: no watcher replaces it, and no answer comes
        time.sleep(6)
        assert not receiver.of(17)
    [callback] = callbacks(receiver, 17)
    assert callback["err_code"] == 0
    assert service.task(17)["attempt"] == 1


def test_a_stop_lets_the_running_job_finish_and_its_callback_leave(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    with TinyService(tmp_path_factory.mktemp("stop"), receiver, drain_seconds=10) as service:
        service.post(20, seconds=1.5)
        service.wait_until(20, "running")
        service.post(21)
        assert service.stop() == 0
        assert [delivery.payload["err_code"] for delivery in receiver.of(20)] == [0]
        assert not receiver.of(21)
        assert service.left_over() == []
        service.start()
        receiver.wait_for(21, timeout_seconds=PATIENCE_SECONDS)


def test_a_job_that_does_not_finish_in_time_goes_back_to_the_queue_at_a_stop(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    with TinyService(tmp_path_factory.mktemp("drain"), receiver, drain_seconds=0.5) as service:
        service.post(22, seconds=600)
        service.wait_until(22, "running")
        assert service.stop() == 0
        assert service.files() == []
        service.start()
        assert service.wait_until(22, "running")["attempt"] == 2
        assert service.sql("SELECT crashes FROM kinora_tasks WHERE task_id = 22") == [{"crashes": 0}]
        assert not receiver.of(22)


def test_a_job_that_is_claimed_when_the_time_to_finish_is_over_goes_back(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    with TinyService(tmp_path_factory.mktemp("hurry"), receiver, drain_seconds=0) as service:
        for task_id in range(60, 66):
            service.post(task_id, seconds=600)
        assert service.stop() == 0
        service.start()
        assert service.sql("SELECT 1 FROM kinora_tasks WHERE crashes > 0 OR state NOT IN ('queued', 'running')") == []


def test_everything_killed_at_once_loses_nothing(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> None:
    with TinyService(tmp_path_factory.mktemp("all"), receiver) as service:
        for task_id in (23, 24, 25):
            service.post(task_id, seconds=1)
        service.wait_until(23, "running")
        service.kill()
        for process in service.left_over():
            processes.send(process, signal.SIGKILL)
        service.start()
        for task_id in (23, 24, 25):
            assert [c["err_code"] for c in callbacks(receiver, task_id)] == [0]


def test_a_killed_service_lets_its_runner_finish_what_it_began(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    with TinyService(tmp_path_factory.mktemp("orphan"), receiver) as service:
        service.post(26, seconds=2)
        service.wait_until(26, "running")
        service.kill()
        service.start()
        assert callbacks(receiver, 26)[0]["err_code"] == 0
        assert service.task(26)["attempt"] == 1


def test_the_gpu_is_one_task_at_a_time_when_asked_for_but_never_closed_to_previews(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    with TinyService(tmp_path_factory.mktemp("gpu"), receiver, gpu_exclusive=True) as service:
        lock = FileLock(service.state / "gpu.lock")
        assert lock.try_acquire()
        service.post(27)
        service.post(28, kind="preview")
        receiver.wait_for(28, timeout_seconds=PATIENCE_SECONDS)
        service.wait_until(27, "running")
        assert not receiver.of(27)
        lock.release()
        receiver.wait_for(27, timeout_seconds=PATIENCE_SECONDS)
