"""Results in a bucket: a real S3-compatible server on loopback, which checks signatures, and fails as servers do."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import obstore
import pytest
from obstore.store import S3Store

from shared.files.handles import OutputDir
from shared.pipeline.job import Result
from shared.runner import result_store
from shared.runner.result_store import ResultStore
from shared.settings import StoreSettings
from shared.tasks.rows import TaskRow
from shared.testing.callback_receiver import Receiver
from tests.support.bucket import BUCKET, SECRET, BucketServer, bucket_server
from tests.support.tiny_service import TinyService, callbacks

ROW = TaskRow(
    id=UUID(int=7), service="upscale", kind="generate", task_id=7, fingerprint="", request={}, context={},
    state="running", cancel=False, progress=0, pace=0, attempt=1, crashes=0, job_id=None, version="1", runs_on="1",
    created_at=datetime(2026, 11, 26, tzinfo=UTC), started_at=None, resumed_at=None, finished_at=None, result=None,
    details={},
)  # fmt: skip
MP4 = b"\x00\x00\x00\x18ftypisom" + os.urandom(9 << 20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with bucket_server(tmp_path_factory.mktemp("bucket")) as server:
        yield server


@pytest.fixture
def _signed(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def store_of(folder: Path, row: TaskRow = ROW, **settings: Any) -> ResultStore:
    def open_folder() -> OutputDir:
        return OutputDir(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), folder)

    return ResultStore(row, StoreSettings(**{"url": f"s3://{BUCKET}/made/here"} | settings), open_folder)


@pytest.mark.usefixtures("_signed")
async def test_a_result_is_put_under_a_key_of_its_own_with_type_and_hash(server: BucketServer, tmp_path: Path) -> None:
    (tmp_path / "7_upscale_00000000-1.mp4").write_bytes(MP4)
    (tmp_path / "7_face 0 脸.jpg").write_bytes(b"\xff\xd8\xff" + b"x" * 10)
    result = Result(video="7_upscale_00000000-1.mp4", references=("7_face 0 脸.jpg",))
    assert await store_of(tmp_path).put(result) == {
        "ok": True,
        "files": {
            "7_upscale_00000000-1.mp4": f"s3://{BUCKET}/made/here/upscale/7/7_upscale_00000000-1.mp4",
            "7_face 0 脸.jpg": f"s3://{BUCKET}/made/here/upscale/7/7_face 0 脸.jpg",
        },
    }
    assert server.objects()["made/here/upscale/7/7_upscale_00000000-1.mp4"] == MP4
    assert server.objects()["made/here/upscale/7/7_face 0 脸.jpg"].startswith(b"\xff\xd8\xff")
    reading = S3Store(BUCKET, client_options={"allow_http": True})
    kept = await obstore.get_async(reading, "made/here/upscale/7/7_upscale_00000000-1.mp4")
    assert dict(kept.attributes) == {"Content-Type": "video/mp4", "sha256": hashlib.sha256(MP4).hexdigest()}


@pytest.mark.usefixtures("_signed")
async def test_what_was_put_can_be_withdrawn(server: BucketServer, tmp_path: Path) -> None:
    (tmp_path / "8.jpg").write_bytes(b"\xff\xd8\xff")
    store = store_of(tmp_path, replace(ROW, task_id=8))
    assert (await store.put(Result(video="8.jpg")))["ok"]
    assert [key for key in server.objects() if "/8/" in key]
    await store.withdraw()
    assert not [key for key in server.objects() if "/8/" in key]


@pytest.mark.usefixtures("_signed")
async def test_what_a_dead_attempt_put_there_goes_when_the_next_one_has_a_result(
    server: BucketServer, tmp_path: Path
) -> None:
    another = replace(ROW, task_id=9, id=UUID(int=8 << 96))
    runs = (another, replace(ROW, task_id=9), replace(ROW, task_id=9, attempt=2))
    for row in runs:
        name = f"{row.mark}{row.attempt}.mp4"
        (tmp_path / name).write_bytes(b"x")
        assert (await store_of(tmp_path, row).put(Result(video=name)))["ok"]
    assert sorted(key.rpartition("/")[2] for key in server.objects() if "/9/" in key) == [
        "9_upscale_00000000-2.mp4", "9_upscale_00000008-1.mp4",
    ]  # fmt: skip


@pytest.mark.usefixtures("_signed")
@pytest.mark.parametrize(
    ("variables", "settings", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another"}, {}, "refused"),
        ({}, {"url": "s3://no-such-bucket"}, "no_bucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, {}, "unreachable"),
    ],
)
async def test_why_a_result_is_not_stored_is_said_in_a_fixed_word(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    variables: dict[str, str],
    settings: dict[str, Any],
    reason: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(result_store, "PAUSES", (0.01, 0.01))
    (tmp_path / "7.mp4").write_bytes(MP4[:1000])
    assert await store_of(tmp_path, **settings).put(Result(video="7.mp4")) == {"ok": False, "reason": reason}
    assert reason in caplog.text
    assert SECRET not in caplog.text
    assert "<?xml" not in caplog.text


@pytest.mark.usefixtures("_signed")
async def test_a_store_that_says_nothing_costs_a_bounded_time(server: BucketServer, tmp_path: Path) -> None:
    (tmp_path / "7.mp4").write_bytes(MP4)
    server.process.send_signal(signal.SIGSTOP)
    try:
        stored = await store_of(tmp_path, seconds=1).put(Result(video="7.mp4"))
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert stored == {"ok": False, "reason": "timeout"}


async def test_without_the_library_the_details_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    assert await store_of(tmp_path).put(Result(video="7.mp4")) == {"ok": False, "reason": "library_missing"}


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, server: BucketServer
) -> Iterator[TinyService]:
    service = TinyService(
        tmp_path_factory.mktemp("store"), receiver, result_store=f"s3://{BUCKET}", result_store_seconds=30
    )
    service.environment |= server.environment
    with service:
        yield service


def test_a_task_ends_with_its_result_in_both_places_and_its_callback_unchanged(
    service: TinyService, receiver: Receiver, server: BucketServer
) -> None:
    assert service.post(100, note="made") == ""
    [callback] = callbacks(receiver, 100)
    name = str(callback["video_url"])
    assert "/" not in name
    assert (service.out / name).read_text() == "made"
    assert server.objects()[f"upscale/100/{name}"] == b"made"
    assert service.task(100)["details"]["stored"] == {
        "ok": True, "files": {name: f"s3://{BUCKET}/upscale/100/{name}"},
    }  # fmt: skip
    assert SECRET not in json.dumps(service.tasks()) + (service.home / "log").read_text()
    assert 'outcome="stored",service="upscale",version=' in str(service.ask("metrics"))


def test_a_cancel_during_the_upload_is_seen_at_once_and_leaves_no_file(
    service: TinyService, receiver: Receiver, server: BucketServer
) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert service.post(101, note="made") == ""
        service.wait_until(101, "running")
        while not [name for name in service.files() if name.startswith("101_")]:
            time.sleep(0.02)
        assert service.cancel(101) == ""
        [callback] = callbacks(receiver, 101)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert callback["err_msg"] == "cancelled"
    assert not [name for name in service.files() if name.startswith("101_")]


def test_a_store_that_is_away_costs_the_copy_and_not_the_task(
    tmp_path: Path, receiver: Receiver, server: BucketServer
) -> None:
    service = TinyService(tmp_path, receiver, result_store=f"s3://{BUCKET}", result_store_seconds=2)
    service.environment |= server.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with service:
        assert service.post(102, note="made") == ""
        [callback] = callbacks(receiver, 102)
        assert callback["err_code"] == 0
        assert (service.out / str(callback["video_url"])).read_text() == "made"
        stored = service.task(102)["details"]["stored"]
        assert stored["ok"] is False
        assert stored["reason"] in {"unreachable", "timeout"}
