"""Attempts: real processes over a real PostgreSQL, from a task's claim to its end. The model is a tiny callable."""

import os
import signal
import time

import psutil
import pytest

from shared.process.file_lock import FileLock
from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService, callbacks


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


def test_a_file_that_is_shown_meanwhile_is_named_before_the_end_and_goes_with_a_cancel(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(14, behaviour="show", seconds=60)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "shown" not in service.task(14)["details"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert service.task(14)["state"] == "running"
    assert (service.out / service.task(14)["details"]["shown"]).read_text() == "so far"
    service.cancel(14)
    callbacks(receiver, 14)
    assert not [name for name in service.files() if name.startswith(("14_", ".14_"))]
    service.post(15, behaviour="show")
    callbacks(receiver, 15)
    task = service.task(15)
    assert task["details"]["model"] == 2.0
    assert (service.out / task["details"]["shown"]).exists()


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
