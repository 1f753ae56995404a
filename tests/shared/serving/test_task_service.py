"""A service's tasks: what it shows, what it cancels, when it is ready. Real processes, real PostgreSQL."""

import os
import re
import signal
import time

from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService


def test_a_waiting_task_is_cancelled_at_once(service: TinyService, receiver: Receiver) -> None:
    service.post(30, seconds=2)
    service.wait_until(30, "running")
    service.post(31)
    assert service.cancel(31) == ""
    assert service.task(31)["state"] == "cancelled"
    callback = receiver.wait_for(31, timeout_seconds=PATIENCE_SECONDS).payload
    assert (callback["err_code"], callback["err_msg"]) == (-1, "cancelled")
    assert service.cancel(31).startswith("Rejected: task_id 31 has no queued or running task")


def test_a_cancel_may_name_the_kind_or_the_run(service: TinyService) -> None:
    service.post(32, seconds=3)
    service.post(32, kind="preview", seconds=3)
    assert service.cancel(32, kind="preview") == ""
    generation = next(task for task in service.tasks(32) if task["kind"] == "generate")
    assert generation["state"] in {"queued", "running"}
    assert service.cancel(32, id=generation["id"]) == ""
    service.wait_until(32, "cancelled")


def test_a_view_has_every_key_and_times_that_say_their_zone(service: TinyService, receiver: Receiver) -> None:
    service.post(40, seconds=0.3)
    receiver.wait_for(40, timeout_seconds=PATIENCE_SECONDS)
    while service.task(40)["callback"]["state"] != "delivered":
        time.sleep(0.05)
    task = service.task(40)
    assert set(task) == {
        "id", "kind", "service", "task_id", "state", "progress", "queue_position", "eta_seconds", "created_at",
        "started_at", "finished_at", "attempt", "result", "callback", "details",
    }  # fmt: skip
    assert task["created_at"] < task["started_at"] < task["finished_at"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", task[f"{w}_at"])
               for w in ("created", "started", "finished"))  # fmt: skip
    assert task["callback"] == {"state": "delivered", "attempts": 1, "next_at": None}
    assert task["queue_position"] is None
    assert task["eta_seconds"] is None


def test_the_eta_comes_from_the_rate_at_which_a_task_really_runs(service: TinyService) -> None:
    service.post(41, seconds=4)
    service.post(42, seconds=4)
    running = service.wait_until(41, "running", progress=0.3)
    assert 0 < running["eta_seconds"] < 30
    waiting = service.task(42)
    assert waiting["queue_position"] == 1
    assert waiting["eta_seconds"] > running["eta_seconds"] - 1


def test_lists_are_newest_first_bounded_and_filtered(service: TinyService, receiver: Receiver) -> None:
    for task_id in (50, 51, 52):
        service.post(task_id)
        receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS)
    assert [task["task_id"] for task in service.tasks(limit=2)] == [52, 51]
    assert {task["state"] for task in service.tasks(state="succeeded")} == {"succeeded"}
    assert service.tasks(999) == []


def test_it_is_ready_only_while_storage_and_runners_are(service: TinyService) -> None:
    def becomes(ready: bool) -> None:  # noqa: FBT001
        deadline = time.monotonic() + PATIENCE_SECONDS
        while service.ask("ready") is not ready:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    becomes(ready=True)
    os.kill(service.runner_pid("preview"), signal.SIGKILL)
    becomes(ready=False)
    becomes(ready=True)
    with processes.suspended(service.postgres_pid()):  # it hangs, and nobody replaces it
        assert service.post(60).startswith("Unavailable: storage is unavailable")
        becomes(ready=False)
    becomes(ready=True)
