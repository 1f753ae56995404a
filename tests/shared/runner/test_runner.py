"""Runners: real processes over a real PostgreSQL, killed, drained and started again. The model is a tiny callable."""

import os
import signal
import time

import pytest

from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService, callbacks


def test_a_killed_runner_has_its_job_running_again_at_once(service: TinyService, receiver: Receiver) -> None:
    service.post(5, seconds=1.5)
    service.wait_until(5, "running")
    os.kill(service.runner_pid(), signal.SIGKILL)
    [callback] = callbacks(receiver, 5)
    assert callback["err_code"] == 0
    assert "-2_text" in str(callback["video_url"])
    assert [name for name in service.files() if name.startswith((".5_", "5_"))] == [callback["video_url"]]


def test_kills_from_outside_are_no_fault_of_the_task(service: TinyService, receiver: Receiver) -> None:
    service.post(17, seconds=3)
    for attempt in (1, 2, 3, 4):
        while (task := service.wait_until(17, "running"))["attempt"] < attempt:
            time.sleep(0.05)
        assert task["attempt"] == attempt
        os.kill(service.runner_pid(), signal.SIGKILL)
    [callback] = callbacks(receiver, 17)
    assert callback["err_code"] == 0
    assert service.sql("SELECT crashes FROM kinora_tasks WHERE task_id = 17") == [{"crashes": 0}]


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


def test_a_preview_does_not_wait_behind_a_generation(service: TinyService, receiver: Receiver) -> None:
    service.post(14, seconds=300)
    service.wait_until(14, "running")
    assert service.post(14, kind="preview", note="look") == ""
    assert receiver.wait_for(14, timeout_seconds=PATIENCE_SECONDS).payload["err_code"] == 0
    assert {task["kind"]: task["state"] for task in service.tasks(14)} == {
        "generate": "running",
        "preview": "succeeded",
    }
    assert service.ask("artifact", key="tiny", task_id=14) == {"note": "look"}
    assert service.ask("artifact", key="tiny", task_id=15) is None
    assert service.ask("artifact", key="tiny") == {"note": "look"}
    service.cancel(14)
    receiver.wait_for(14, timeout_seconds=PATIENCE_SECONDS, count=2)


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
