"""Callbacks: one body and one key from the end of the task until the backend has taken it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from rich.console import Console
from standardwebhooks import Webhook
from typer.testing import CliRunner

from shared.cli.callbacks import app
from shared.contract.messages import Callback
from shared.database.database import Database
from shared.database.pool import Connection, Pool
from shared.delivery import sender, worker
from shared.delivery.sender import Undelivered, check_answer, pause
from shared.delivery.worker import CallbackWorker
from shared.queue.client import Queue
from shared.settings import Settings
from shared.tasks import callbacks, rows
from shared.tasks.recovery import TaskRecovery
from shared.testing.callback_receiver import Behaviour, Receiver, well_behaved
from tests.support.tiny_service import PATIENCE_SECONDS

T = TypeVar("T")
SECRETS = ("whsec_b2xkIHNlY3JldCBvZiB0ZXN0", "whsec_bmV3IHNlY3JldCBvZiB0ZXN0")


class Post:
    """A database with a delivery lane, and tasks that end at will."""

    def __init__(self, database: Database, settings: Settings, receiver: Receiver) -> None:
        self.database = database
        self.settings = settings
        self.receiver = receiver

    def run(self, work: Callable[[Connection, Queue], Awaitable[T]]) -> T:
        async def once() -> T:
            pool = await Pool(self.database.uri).open()
            async with pool.transaction() as connection:
                result = await work(connection, Queue(pool.raw))
            await pool.close()
            return result

        return asyncio.run(once())

    def end_task(self, task_id: int) -> UUID:
        """Write a task that has ended; return its row."""

        async def work(connection: Connection, queue: Queue) -> UUID:
            row_id = await rows.insert(
                connection, service="upscale", kind="generate", task_id=task_id, fingerprint="", request={}, context={},
                version="1.0",
            )  # fmt: skip
            row = await rows.read(connection, row_id)
            assert row
            assert await callbacks.finish_task(
                connection, queue, row, "succeeded", Callback(task_id=task_id, video_url="片 1.mp4")
            )
            return row_id

        return self.run(work)

    def state_of(self, row: UUID) -> dict[str, Any]:
        async def work(connection: Connection, _queue: Queue) -> dict[str, Any]:
            cursor = await connection.execute("SELECT * FROM kinora_callbacks WHERE task = %s", (row,))
            return await cursor.fetchone() or {}

        return self.run(work)

    def wait(self, row: UUID, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until(state := self.state_of(row)):
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        return state

    def sql(self, statement: str, *values: object) -> None:
        async def work(connection: Connection, _queue: Queue) -> None:
            await connection.execute(statement, values)

        self.run(work)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def behave_again(receiver: Receiver) -> Iterator[None]:
    yield
    receiver.behave = well_behaved


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Post]:
    patch = pytest.MonkeyPatch()
    patch.setattr(sender, "PAUSES", (0.2, 0.2))
    patch.setattr(sender, "LAST_PAUSE", 0.3)
    patch.setattr(sender, "TOTAL_SECONDS", 1.0)
    patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nothing listens there: a courier that used it would fail
    patch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("post") / "state", callback_url=receiver.url, webhook_secret=" ".join(SECRETS)
    )
    database = Database(settings).start()
    lane = CallbackWorker(settings, "upscale", database.uri)
    lane.start()
    yield Post(database, settings, receiver)
    lane.stop()
    database.stop()
    patch.undo()


def test_a_callback_is_the_six_keys_under_standard_webhooks_headers(post: Post, receiver: Receiver) -> None:
    row = post.end_task(1)
    delivery = receiver.wait_for(1, timeout_seconds=PATIENCE_SECONDS)
    assert json.loads(delivery.body) == {
        "task_id": 1, "preview_image": "", "reference_images": [],
        "video_url": "片 1.mp4", "err_code": 0, "err_msg": "",
    }  # fmt: skip
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.key == f"msg_{post.state_of(row)['id'].hex}"
    for secret in SECRETS:  # either of them verifies while it is rotated
        Webhook(secret).verify(delivery.body, delivery.headers)
    state = post.wait(row, lambda state: state["state"] == "delivered")
    assert (state["attempts"], state["next_at"], state["last_error"]) == (1, None, None)


@pytest.mark.parametrize("behaviour", ["no body", "not json"])
def test_a_2xx_without_json_counts_as_taken(post: Post, receiver: Receiver, behaviour: Behaviour) -> None:
    receiver.behave = lambda _delivery: behaviour
    row = post.end_task(2)
    assert post.wait(row, lambda state: state["state"] == "delivered")["attempts"] == 1


REFUSALS: tuple[Behaviour, ...] = ("err_code -1", "http 500", "redirect", "drop", "huge", "slow")


@pytest.mark.parametrize("behaviour", REFUSALS)
def test_anything_else_is_tried_again_under_the_same_key_until_it_is_taken(
    post: Post, receiver: Receiver, behaviour: Behaviour
) -> None:
    task_id = 10 + REFUSALS.index(behaviour)
    receiver.behave = lambda _delivery: behaviour
    row = post.end_task(task_id)
    failed = post.wait(row, lambda state: state["attempts"] >= 2)
    assert failed["state"] == "pending"
    assert failed["last_error"]
    assert failed["next_at"]
    receiver.behave = well_behaved
    assert post.wait(row, lambda state: state["state"] == "delivered")["attempts"] >= 3
    deliveries = receiver.of(task_id)
    assert len({(delivery.key, delivery.body) for delivery in deliveries}) == 1
    assert {delivery.path for delivery in deliveries} == {"/api/ai/notify"}  # a redirect is never followed


def test_after_three_days_it_is_parked_listed_and_replayed_by_hand(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.behave = lambda _delivery: "http 500"
    row = post.end_task(30)
    post.sql("UPDATE kinora_callbacks SET since = now() - interval '72 hours' WHERE task = %s", row)
    parked = post.wait(row, lambda state: state["state"] == "parked")
    assert parked["next_at"] is None
    receiver.behave = well_behaved
    monkeypatch.setenv("KINORA_STATE_DIR", str(post.settings.state_dir))
    monkeypatch.setattr("shared.cli.callbacks.console", Console(width=300))
    listed = CliRunner().invoke(app, ["list", "--state", "parked"])
    assert str(parked["id"]) in listed.output
    assert "HTTP 500" in listed.output
    assert CliRunner().invoke(app, ["replay", "--parked"]).output.strip() == "queued again: 1"
    post.wait(row, lambda state: state["state"] == "delivered")
    assert len({delivery.key for delivery in receiver.of(30)}) == 1
    assert CliRunner().invoke(app, ["replay", str(parked["id"])]).exit_code == 0
    receiver.wait_for(30, timeout_seconds=PATIENCE_SECONDS, count=2)


def test_a_replay_during_the_last_try_is_neither_overwritten_nor_doubled(post: Post, receiver: Receiver) -> None:
    receiver.behave = lambda _delivery: "slow"
    row = post.end_task(32)
    post.wait(row, lambda state: state["attempts"] >= 1)
    post.sql("UPDATE kinora_callbacks SET since = now() - interval '72 hours' WHERE task = %s", row)
    key = UUID(str(post.state_of(row)["id"]))
    tried = len(receiver.of(32))
    while len(receiver.of(32)) == tried:  # a try has begun that would be the last
        time.sleep(0.01)
    assert post.run(lambda connection, queue: callbacks.replay(connection, queue, key))
    assert post.wait(row, lambda state: state["attempts"] >= 2)["state"] == "pending"

    async def jobs(connection: Connection, _queue: Queue) -> int:
        cursor = await connection.execute("SELECT 1 FROM procrastinate_jobs WHERE args->>'id' = %s", (str(key),))
        return len(await cursor.fetchall())

    assert post.run(jobs) == 1
    receiver.behave = well_behaved
    post.wait(row, lambda state: state["state"] == "delivered")


def test_a_lane_that_breaks_begins_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[bool] = []
    serve = Queue.serve

    async def breaks(self: Queue, *arguments: Any) -> None:
        if not broken:
            broken.append(True)
            raise OSError(24, "too many open files")
        await serve(self, *arguments)

    monkeypatch.setattr(Queue, "serve", breaks)
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.1)
    lane = CallbackWorker(post.settings, "interpo", post.database.uri)
    lane.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (broken and lane._pool):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert lane.alive
    lane.stop()
    assert not lane.alive


def test_a_callback_whose_job_was_lost_is_found_again(post: Post, receiver: Receiver) -> None:
    receiver.behave = lambda _delivery: "http 500"
    row = post.end_task(31)
    post.wait(row, lambda state: state["attempts"] >= 1)
    post.sql("DELETE FROM procrastinate_jobs WHERE task_name = 'kinora.deliver'")
    post.sql("UPDATE kinora_callbacks SET next_at = now() - interval '2 minutes' WHERE task = %s", row)
    receiver.behave = well_behaved

    async def requeue_lost() -> None:
        pool = await Pool(post.database.uri).open()
        await TaskRecovery(post.settings, pool, await Queue(pool.raw).opened()).requeue_lost()
        await pool.close()

    asyncio.run(requeue_lost())
    post.wait(row, lambda state: state["state"] == "delivered")


def test_the_pauses_grow_spread_and_honour_what_the_receiver_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PAUSES", (5.0, 30.0, 120.0, 300.0))
    monkeypatch.setattr(sender, "LAST_PAUSE", 300.0)
    assert [pause(failures) for failures in range(4)] == [5, 30, 120, 300]
    late = {pause(9) for _ in range(100)}
    assert min(late) >= 240
    assert max(late) <= 360
    assert len(late) > 50
    assert pause(0, wish=60) == 60
    assert pause(0, wish=1e9) == 3600
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert sender._retry_after(soon.strftime("%a, %d %b %Y %H:%M:%S GMT")) == pytest.approx(100, abs=5)
    assert sender._retry_after("120") == 120
    assert sender._retry_after("soon") is None


@pytest.mark.parametrize("answer", [b"", b"ok", b'{"err_code":0}', b'{"err_code":0.0,"err_msg":"fine"}'])
def test_answers_that_take_a_callback(answer: bytes) -> None:
    check_answer(answer)


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"null", b"0", b'{"err_code":-1}', b'{"err_code":false}', b"[" * 65536]
)
def test_answers_that_do_not_take_a_callback(answer: bytes) -> None:
    with pytest.raises(Undelivered):
        check_answer(answer)


def test_a_lane_gives_a_last_callback_a_moment_to_leave(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    settings = Settings(state_dir=tmp_path_factory.mktemp("last") / "state", callback_url=receiver.url)
    database = Database(settings).start()
    post = Post(database, settings, receiver)
    lane = CallbackWorker(settings, "upscale", database.uri)
    lane.start()
    post.end_task(40)
    lane.stop()
    assert receiver.of(40)
    database.stop()
