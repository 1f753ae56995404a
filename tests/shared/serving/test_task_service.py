"""The desk: what it accepts, once; what it shows; what it cancels. Real processes, real PostgreSQL."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import JobFailed
from shared.serving import task_service
from shared.settings import Settings
from shared.tasks.workspace import check_disk_space
from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from tests.support.tiny_runner import TinyRequest
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[TinyService]:
    with TinyService(tmp_path_factory.mktemp("desk"), receiver, max_queued=3) as service:
        yield service


@pytest.fixture(autouse=True)
def idle(service: TinyService) -> Iterator[None]:
    """Leave nothing behind for the next test."""
    yield
    for task in service.tasks(limit=500):
        if task["state"] in {"queued", "running"}:
            service.cancel(task["task_id"])
    while any(task["state"] in {"queued", "running"} for task in service.tasks(limit=500)):
        time.sleep(0.05)


def test_the_same_body_while_it_waits_or_runs_is_accepted_and_runs_once(
    service: TinyService, receiver: Receiver
) -> None:
    for _ in range(3):
        assert service.post(1, seconds=0.5, note="same") == ""
    service.wait_until(1, "running")
    assert service.post(1, seconds=0.5, note="same") == ""
    receiver.wait_for(1, timeout_seconds=PATIENCE_SECONDS)
    time.sleep(0.5)
    assert len(receiver.of(1)) == 1
    assert service.task(1)["attempt"] == 1
    assert len([name for name in service.files() if name.startswith("1_")]) == 1


def test_another_body_under_a_task_id_at_work_is_refused_with_the_reason(service: TinyService) -> None:
    service.post(2, seconds=1, note="one")
    refusal = service.post(2, seconds=1, note="other")
    assert refusal.startswith("Rejected: task_id 2 is still")


def test_the_same_body_after_success_is_delivered_again_under_a_new_key(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(3, note="again")
    first = receiver.wait_for(3, timeout_seconds=PATIENCE_SECONDS)
    assert service.post(3, note="again") == ""
    second = receiver.wait_for(3, timeout_seconds=PATIENCE_SECONDS, count=2)
    assert second.body == first.body
    assert second.key != first.key
    assert service.task(3)["attempt"] == 1
    assert len(service.sql("SELECT 1 FROM kinora_tasks WHERE task_id = 3")) == 1


def test_the_same_body_runs_again_when_its_files_are_gone(service: TinyService, receiver: Receiver) -> None:
    service.post(4)
    first = receiver.wait_for(4, timeout_seconds=PATIENCE_SECONDS).payload["video_url"]
    (service.out / first).unlink()
    assert service.post(4) == ""
    second = receiver.wait_for(4, timeout_seconds=PATIENCE_SECONDS, count=2).payload["video_url"]
    assert second != first
    assert (service.out / second).exists()


@pytest.mark.parametrize(("task_id", "how"), [(5, "fail"), (6, "cancel")])
def test_the_same_body_runs_again_after_a_failure_or_a_cancel(
    service: TinyService, receiver: Receiver, task_id: int, how: str
) -> None:
    behaviour, seconds = ("fail", 0) if how == "fail" else ("work", 3)
    for count in (1, 2):
        assert service.post(task_id, behaviour=behaviour, seconds=seconds) == ""
        if how == "cancel":
            service.wait_until(task_id, "running")
            service.cancel(task_id)
        while len(receiver.of(task_id)) < count:
            time.sleep(0.05)
    assert len(service.sql("SELECT 1 FROM kinora_tasks WHERE task_id = %s", task_id)) == 2
    assert len(service.tasks(task_id)) == 1  # only the newest run is shown
    assert len({delivery.key for delivery in receiver.of(task_id)}) == 2


def test_another_body_after_the_end_is_a_new_job(service: TinyService, receiver: Receiver) -> None:
    service.post(7, note="one")
    receiver.wait_for(7, timeout_seconds=PATIENCE_SECONDS)
    assert service.post(7, note="two") == ""
    name = receiver.wait_for(7, timeout_seconds=PATIENCE_SECONDS, count=2).payload["video_url"]
    assert (service.out / name).read_text() == "two"


def test_a_body_being_cancelled_is_not_accepted_again_before_its_end(service: TinyService) -> None:
    service.post(8, behaviour="wedge", seconds=2)
    service.wait_until(8, "running")
    service.cancel(8)
    assert service.post(8, behaviour="wedge", seconds=2).startswith("Rejected: task_id 8 is being cancelled")


def test_a_full_queue_says_busy_and_previews_have_a_bound_of_their_own(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(10, seconds=2)
    service.wait_until(10, "running")
    for task_id in (11, 12, 13):
        assert service.post(task_id, seconds=1) == ""
    assert service.post(14).startswith("Busy: busy: 3 tasks")
    assert service.post(11, seconds=1) == ""  # known already: takes no place
    assert service.post(14, kind="preview") == ""
    waiting = [task for task in service.tasks(state="queued") if task["kind"] == "generate"]
    assert [(task["task_id"], task["queue_position"]) for task in waiting] == [(13, 3), (12, 2), (11, 1)]
    receiver.wait_for(14, timeout_seconds=PATIENCE_SECONDS)
    assert service.cancel(12) == ""
    assert service.post(14) == ""


def test_a_newer_preview_supersedes_a_waiting_older_one(service: TinyService, receiver: Receiver) -> None:
    service.post(20, kind="preview", seconds=1)
    service.wait_until(20, "running")
    service.post(21, kind="preview", note="old")
    service.post(21, kind="preview", note="new")
    old, new = (receiver.wait_for(21, timeout_seconds=PATIENCE_SECONDS, count=count).payload for count in (1, 2))
    assert old["err_code"] == -1
    assert "newer preview" in old["err_msg"]
    assert new["err_code"] == 0
    assert sorted(task["state"] for task in service.tasks(21)) == ["cancelled", "succeeded"]


def test_a_waiting_task_is_cancelled_at_once(service: TinyService, receiver: Receiver) -> None:
    service.post(30, seconds=2)
    service.wait_until(30, "running")
    service.post(31)
    assert service.cancel(31) == ""
    assert service.task(31)["state"] == "cancelled"
    callback = receiver.wait_for(31, timeout_seconds=PATIENCE_SECONDS).payload
    assert (callback["err_code"], callback["err_msg"]) == (-1, "cancelled")
    assert service.cancel(31).startswith("Rejected: task_id 31 has nothing")


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


def test_large_ids_and_odd_words_survive_the_way_through(service: TinyService, receiver: Receiver) -> None:
    task_id = 2**63 - 1
    service.post(task_id, note="名 'quoted' \\ \u2028 🎬")
    assert receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS).payload["task_id"] == task_id
    assert service.task(task_id)["task_id"] == task_id


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


def test_a_disk_without_room_is_refused_even_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    check_disk_space([tmp_path / "not" / "there"])
    with pytest.raises(JobFailed, match="not enough disk space"):
        check_disk_space([tmp_path / "not" / "there"], need_bytes=1 << 60)


def test_only_the_output_folder_needs_room_for_a_copy_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def note(folders: list[Path], need_bytes: int = 0) -> None:
        asked.update(dict.fromkeys(folders, need_bytes))

    monkeypatch.setattr(task_service, "check_disk_space", note)
    (tmp_path / "clip").write_bytes(b"x" * 1000)
    settings = Settings(state_dir=tmp_path / "state", media_roots=(tmp_path,))
    request = TinyRequest(task_id=1, dist_dir=str(tmp_path / "out"), note=str(tmp_path / "clip"))
    task_service.TaskService("upscale", settings)._resolve(request, ["note"])
    assert asked == {tmp_path / "out": 1000, tmp_path / "state": 0}


def test_a_service_speaks_for_a_runner_that_lives_and_is_too_starved_to_speak(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(70, seconds=6)
    service.wait_until(70, "running")
    os.kill(pid := service.runner_pid(), signal.SIGSTOP)
    try:
        silence = (
            "UPDATE procrastinate_workers w SET last_heartbeat = now() - interval '1 hour' FROM procrastinate_jobs j"
            " WHERE j.worker_id = w.id AND j.status = 'doing' AND j.queue_name LIKE 'upscale.generate%%'"
            " RETURNING w.id"
        )
        [worker] = service.sql(silence)
        heard = "SELECT 1 FROM procrastinate_workers WHERE id = %s AND last_heartbeat > now() - interval '1 minute'"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not service.sql(heard, worker["id"]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        service.sql("UPDATE kinora_tasks SET beat_at = now() - interval '5 minutes' WHERE task_id = 70")
        service.sql(silence)
        time.sleep(7)  # longer than between two such words
        assert not service.sql(heard, worker["id"])  # stopped for good, as far as anybody can see
    finally:
        os.kill(pid, signal.SIGCONT)
    assert receiver.wait_for(70, timeout_seconds=PATIENCE_SECONDS).payload["err_code"] == 0
