"""Acceptance: what a service accepts, once, and what it refuses. Real processes, real PostgreSQL."""

import time
from pathlib import Path

import pytest

from shared.errors import Busy, Rejected
from shared.files.media_roots import MediaRoots
from shared.media.media_info import MediaHeader
from shared.pipeline.work import Work
from shared.serving import acceptance
from shared.settings import LimitSettings, Settings
from shared.testing.callback_receiver import Receiver, well_behaved
from tests.support.tiny_runner import TinyRequest
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService


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


def test_a_burst_fills_the_queue_exactly_and_the_rest_is_busy(service: TinyService) -> None:
    service.post(30, seconds=20)
    service.wait_until(30, "running")
    answers = service.post_many(range(31, 151), at_once=120)
    assert answers == {"": 3, f"Busy: {Busy('queue_full', limit=3)}": 117}
    assert service.ask("ready")


@pytest.mark.slow
def test_two_thousand_posts_at_once_are_accepted_or_busy_and_the_service_stays_ready(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Of 400 callers at a time; before, every third heard that the storage was unavailable."""
    with TinyService(tmp_path, receiver, max_queued=50) as service:
        service.post(1, seconds=60)
        service.wait_until(1, "running")
        answers = service.post_many(range(2, 2002), at_once=400)
        assert answers == {"": 50, f"Busy: {Busy('queue_full', limit=50)}": 1950}
        assert service.ask("ready")
        log = (tmp_path / "log").read_text()
        assert "cannot be reached" not in log
        service.cancel(1)


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


def test_superseded_previews_leave_a_bounded_number_of_callbacks_behind(
    service: TinyService, receiver: Receiver
) -> None:
    """Each that was accepted has its callback; a backend that takes none is not sent ever more of them."""
    receiver.behave = lambda delivery: "http 500" if delivery.payload["task_id"] == 23 else "ok"
    service.post(22, kind="preview", seconds=30)
    service.wait_until(22, "running")
    answers = [service.post(23, kind="preview", note=str(number)) for number in range(15)]
    receiver.behave = well_behaved
    assert answers[:11] == [""] * 11
    assert all(answer.startswith("Busy: busy: 10 callbacks") for answer in answers[11:])
    service.cancel(22)
    receiver.wait_for(23, timeout_seconds=PATIENCE_SECONDS, count=11)


def test_large_ids_and_odd_words_survive_the_way_through(service: TinyService, receiver: Receiver) -> None:
    task_id = 2**63 - 1
    service.post(task_id, note="名 'quoted' \\ \u2028 🎬")
    assert receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS).payload["task_id"] == task_id
    assert service.task(task_id)["task_id"] == task_id


def test_only_the_output_folder_needs_room_for_a_copy_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def note(folders: list[Path], need_bytes: int = 0) -> None:
        asked.update(dict.fromkeys(folders, need_bytes))

    monkeypatch.setattr(acceptance, "check_disk_space", note)
    (tmp_path / "clip").write_bytes(b"x" * 1000)
    settings = Settings(state_dir=tmp_path / "state", media_roots=(tmp_path,))
    request = TinyRequest(task_id=1, dist_dir=str(tmp_path / "out"), note=str(tmp_path / "clip"))
    acceptance.Acceptance("upscale", settings)._resolve(request, ["note"])
    assert asked == {tmp_path / "out": 1000, tmp_path / "state": 0}


RoomAsked = tuple[acceptance.Acceptance, list[int]]


@pytest.fixture
def room_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RoomAsked:
    """An acceptance of videos in segments of 10 s, and for how many bytes it asks; `clip` has 1,000."""
    asked: list[int] = []
    monkeypatch.setattr(acceptance, "check_disk_space", lambda _folders, need=0: asked.append(need))
    (tmp_path / "clip").write_bytes(b"x" * 1000)
    settings = Settings(state_dir=tmp_path / "state", media_roots=(tmp_path,), limits=LimitSettings(segment_seconds=10))
    accept = acceptance.Acceptance("upscale", settings)
    return accept, asked


def test_a_long_video_needs_room_for_its_result_its_segments_and_one_more(
    tmp_path: Path, room_asked: RoomAsked
) -> None:
    accept, asked = room_asked
    for kind, seconds in (("video", 100.0), ("video", 9.0), ("image", 0.0)):
        header = MediaHeader(kind, 64, 48, 8, duration_seconds=seconds)  # type: ignore[arg-type]
        accept._check_room_for_segments(tmp_path, {"clip": tmp_path / "clip"}, {"clip": header})
    assert asked == [2100]


def test_a_long_video_needs_room_for_what_its_pipeline_remembers(tmp_path: Path, room_asked: RoomAsked) -> None:
    accept, asked = room_asked
    header = MediaHeader("video", 64, 48, 8, duration_seconds=100.0)
    paths, work = {"clip": tmp_path / "clip"}, Work(frames=1, pixels=64 * 48, remembered=1_000_000)
    accept._check_room_for_segments(tmp_path, paths, {"clip": header}, lambda *_: work)
    assert asked == [2100 + 14 * 1_000_000]  # of 100 segments 14 keep it


def test_an_input_that_goes_while_it_is_looked_at_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(b"x")
    settings = Settings(state_dir=tmp_path / "state", media_roots=(tmp_path,))
    request = TinyRequest(task_id=1, dist_dir=str(tmp_path / "out"), note=str(clip))
    checked = MediaRoots.dist_dir

    def remove_then_check(roots: MediaRoots, field: str, value: str) -> Path:
        clip.unlink()
        return checked(roots, field, value)

    monkeypatch.setattr(MediaRoots, "dist_dir", remove_then_check)
    with pytest.raises(Rejected, match="note"):
        acceptance.Acceptance("upscale", settings)._resolve(request, ["note"])


def test_room_is_measured_where_the_output_goes_not_where_the_caller_spells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file URL or a mapped prefix is no folder of this machine: its room would be that of `/` or of where we run."""
    asked: list[Path] = []
    monkeypatch.setattr(acceptance, "check_disk_space", lambda folders, _need=0: asked.extend(folders))
    settings = Settings(state_dir=tmp_path / "state", media_roots=(tmp_path,), path_map=(("/backend", str(tmp_path)),))
    for spelling in (f"file://{tmp_path}/out", "/backend/out"):
        request = TinyRequest(task_id=1, dist_dir=spelling)
        acceptance.Acceptance("upscale", settings)._resolve(request, [])
    assert asked == [tmp_path / "out", tmp_path / "state"] * 2
