"""Callbacks: one body and one key from the end of the task until the backend has taken it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console
from standardwebhooks import Webhook
from typer.testing import CliRunner, Result

from shared.cli.callbacks import app
from shared.contract.messages import Callback
from shared.database.database import Database
from shared.database.pool import Pool
from shared.delivery import sender, worker
from shared.delivery.answer import Undelivered, check_answer
from shared.delivery.sender import pause
from shared.delivery.worker import CallbackWorker
from shared.queue.client import Queue
from shared.queue.worker import QueueWorker
from shared.settings import CallbackSettings, Settings
from shared.tasks import callbacks, rows
from shared.tasks.recovery import TaskRecovery
from shared.testing.callback_receiver import NOTIFY_PATH, Behaviour, ReceivedCallback, Receiver, well_behaved
from shared.testing.stack import free_port
from tests.support.tiny_service import PATIENCE_SECONDS

SECRETS = ("whsec_b2xkIHNlY3JldCBvZiB0ZXN0", "whsec_bmV3IHNlY3JldCBvZiB0ZXN0")


class Post:
    """A database with a callback worker, and tasks that end at will."""

    def __init__(self, settings: Settings, uri: str, pool: Pool) -> None:
        self.settings = settings
        self.uri = uri
        self.pool = pool
        self.queue = Queue()

    async def end_task(self, task_id: int) -> UUID:
        """Write a task that has ended; return its row."""
        async with self.pool.transaction() as connection:
            row_id = await rows.insert(
                connection, service="upscale", kind="generate", task_id=task_id, fingerprint="", request={}, context={},
                version="1.0",
            )  # fmt: skip
            row = await rows.read(connection, row_id)
            assert row
            assert await callbacks.finish_task(
                connection, self.queue, row, "succeeded", Callback(task_id=task_id, video_url="片 1.mp4")
            )
        return row_id

    async def state_of(self, row: UUID) -> dict[str, Any]:
        [state] = await self.sql("SELECT * FROM kinora_callbacks WHERE task = %s", row)
        return state

    async def wait(self, row: UUID, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until(state := await self.state_of(row)):
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.05)
        return state

    async def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        async with self.pool.transaction() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def open_post(settings: Settings) -> AsyncIterator[Post]:
    """Start a database and a callback worker for the length of a block."""
    database = Database(settings).start()
    deliverer = CallbackWorker(settings, "upscale", database.uri)
    deliverer.start()
    pool = await Pool(database.uri).open()
    try:
        yield Post(settings, database.uri, pool)
    finally:
        deliverer.stop()
        await pool.close()
        database.stop()


async def kinora_callbacks(*arguments: str) -> Result:
    """Run `kinora callbacks …` outside the test's event loop: it brings its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def behave_again(receiver: Receiver) -> Iterator[None]:
    yield
    receiver.behave = well_behaved


@pytest.fixture(scope="module")
async def post(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> AsyncIterator[Post]:
    patch = pytest.MonkeyPatch()
    patch.setattr(sender, "PAUSES", (0.2, 0.2))
    patch.setattr(sender, "LAST_PAUSE", 0.3)
    patch.setattr(sender, "TOTAL_SECONDS", 1.0)
    patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nothing listens there: a sender that used it would fail
    patch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("post") / "state",
        callbacks=CallbackSettings(url=receiver.url, webhook_secret=" ".join(SECRETS)),
    )
    async with open_post(settings) as post:
        yield post
    patch.undo()


async def test_a_callback_is_the_six_keys_under_standard_webhooks_headers(post: Post, receiver: Receiver) -> None:
    row = await post.end_task(1)
    delivery = receiver.wait_for(1, timeout_seconds=PATIENCE_SECONDS)
    assert json.loads(delivery.body) == {
        "task_id": 1, "preview_image": "", "reference_images": [],
        "video_url": "片 1.mp4", "err_code": 0, "err_msg": "",
    }  # fmt: skip
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.key == f"msg_{(await post.state_of(row))['id'].hex}"
    for secret in SECRETS:  # either of them verifies while it is rotated
        Webhook(secret).verify(delivery.body, delivery.headers)
    state = await post.wait(row, lambda state: state["state"] == "delivered")
    assert (state["attempts"], state["next_at"], state["last_error"]) == (1, None, None)


@pytest.mark.parametrize("behaviour", ["no body", "not json", "huge"])
async def test_a_2xx_without_json_and_a_long_answer_count_as_taken(
    post: Post, receiver: Receiver, behaviour: Behaviour
) -> None:
    receiver.behave = lambda _delivery: behaviour
    row = await post.end_task(2)
    assert (await post.wait(row, lambda state: state["state"] == "delivered"))["attempts"] == 1


REFUSALS: tuple[Behaviour, ...] = ("err_code -1", "http 500", "redirect", "drop", "slow")


@pytest.mark.parametrize("behaviour", REFUSALS)
async def test_anything_else_is_tried_again_under_the_same_key_until_it_is_taken(
    post: Post, receiver: Receiver, behaviour: Behaviour
) -> None:
    task_id = 10 + REFUSALS.index(behaviour)
    receiver.behave = lambda _delivery: behaviour
    row = await post.end_task(task_id)
    failed = await post.wait(row, lambda state: state["attempts"] >= 2)
    assert failed["state"] == "pending"
    assert failed["last_error"]
    assert failed["next_at"]
    receiver.behave = well_behaved
    assert (await post.wait(row, lambda state: state["state"] == "delivered"))["attempts"] >= 3
    deliveries = receiver.of(task_id)
    assert len({(delivery.key, delivery.body) for delivery in deliveries}) == 1
    assert {delivery.path for delivery in deliveries} == {"/api/ai/notify"}  # a redirect is never followed


async def test_every_try_is_recorded_with_what_was_answered(post: Post, receiver: Receiver) -> None:
    answers: Iterator[Behaviour] = iter(("http 500", "err_code -1", "drop"))
    receiver.behave = lambda _delivery: next(answers, "ok")
    row = await post.end_task(77)
    await post.wait(row, lambda state: state["state"] == "delivered")
    found = await post.sql(
        "SELECT outcome, status, error, seconds FROM kinora_callback_tries WHERE callback ="
        " (SELECT id FROM kinora_callbacks WHERE task = %s) ORDER BY number", row,
    )  # fmt: skip
    told = [(attempt["outcome"], attempt["status"], bool(attempt["error"])) for attempt in found]
    assert told == [
        ("refused", 500, True), ("refused", 200, True), ("unreachable", None, True), ("delivered", 200, False),
    ]  # fmt: skip
    assert all(0 < attempt["seconds"] < PATIENCE_SECONDS for attempt in found)


async def test_all_that_wait_for_a_receiver_are_sent_when_it_is_back(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PAUSES", (3600.0,))  # by its own schedule none would be sent in this test
    monkeypatch.setattr(sender, "LAST_PAUSE", 3600.0)
    monkeypatch.setattr(sender, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr("shared.queue.worker.HEARTBEAT_SECONDS", 0.2)
    port, count = free_port(), 40
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("away") / "state",
        callbacks=CallbackSettings(url=f"http://127.0.0.1:{port}{NOTIFY_PATH}"),
    )
    async with open_post(settings) as post:

        async def tries(*, total: int = 0, least: int = 0) -> bool:
            [tried] = await post.sql("SELECT sum(attempts) AS total, min(attempts) AS least FROM kinora_callbacks")
            return bool(tried["total"] >= total and tried["least"] >= least)

        async def arrived() -> bool:
            return len({delivery.key for delivery in back.deliveries}) == count

        for task_id in range(count):
            await post.end_task(task_id)
        await until(lambda: tries(least=1))
        await until(lambda: tries(total=count + 2))  # probes, and not all of them again
        assert not await tries(total=2 * count)

        def refuse_one(delivery: ReceivedCallback) -> Behaviour:
            return "err_code -1" if delivery.payload["task_id"] == 7 else "ok"

        with Receiver(refuse_one, port=port) as back:
            await until(arrived)
            assert len(back.of(7)) == 1  # refused, it keeps to its schedule


async def test_after_three_days_it_is_parked_listed_and_replayed_by_hand(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.behave = lambda _delivery: "http 500"
    row = await post.end_task(30)
    await post.sql("UPDATE kinora_callbacks SET since = now() - interval '72 hours' WHERE task = %s", row)
    parked = await post.wait(row, lambda state: state["state"] == "parked")
    assert parked["next_at"] is None
    receiver.behave = well_behaved
    monkeypatch.setenv("KINORA_STATE_DIR", str(post.settings.state_dir))
    monkeypatch.setattr("shared.cli.callbacks.console", Console(width=300))
    listed = await kinora_callbacks("list", "--state", "parked")
    assert str(parked["id"]) in listed.output
    assert "HTTP 500" in listed.output
    assert (await kinora_callbacks("replay", "--parked")).output.strip() == "queued again: 1"
    await post.wait(row, lambda state: state["state"] == "delivered")
    assert len({delivery.key for delivery in receiver.of(30)}) == 1
    assert (await kinora_callbacks("replay", str(parked["id"]))).exit_code == 0
    receiver.wait_for(30, timeout_seconds=PATIENCE_SECONDS, count=2)


async def test_a_replay_during_the_last_try_is_neither_overwritten_nor_doubled(post: Post, receiver: Receiver) -> None:
    receiver.behave = lambda _delivery: "slow"
    row = await post.end_task(32)
    await post.wait(row, lambda state: state["attempts"] >= 1)
    await post.sql("UPDATE kinora_callbacks SET since = now() - interval '72 hours' WHERE task = %s", row)
    key = UUID(str((await post.state_of(row))["id"]))
    tried = len(receiver.of(32))
    while len(receiver.of(32)) == tried:  # noqa: ASYNC110  # a try has begun that would be the last
        await asyncio.sleep(0.01)
    async with post.pool.transaction() as connection:
        assert await callbacks.replay(connection, post.queue, key)
    assert (await post.wait(row, lambda state: state["attempts"] >= 2))["state"] == "pending"
    assert len(await post.sql("SELECT 1 FROM procrastinate_jobs WHERE args->>'id' = %s", str(key))) == 1
    receiver.behave = well_behaved
    await post.wait(row, lambda state: state["state"] == "delivered")


def test_a_lane_that_breaks_begins_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[bool] = []
    serve = QueueWorker.serve

    async def breaks(self: QueueWorker, *arguments: Any) -> None:
        if not broken:
            broken.append(True)
            raise OSError(24, "too many open files")
        await serve(self, *arguments)

    monkeypatch.setattr(QueueWorker, "serve", breaks)
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.1)
    deliverer = CallbackWorker(post.settings, "interpo", post.uri)
    deliverer.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (broken and deliverer._pool):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert deliverer.alive
    deliverer.stop()
    assert not deliverer.alive


async def test_a_callback_whose_job_was_lost_is_found_again(post: Post, receiver: Receiver) -> None:
    receiver.behave = lambda _delivery: "http 500"
    row = await post.end_task(31)
    await post.wait(row, lambda state: state["attempts"] >= 1)
    await post.sql("DELETE FROM procrastinate_jobs WHERE task_name = 'kinora.deliver'")
    await post.sql("UPDATE kinora_callbacks SET next_at = now() - interval '2 minutes' WHERE task = %s", row)
    receiver.behave = well_behaved
    await TaskRecovery(post.settings, post.pool, post.queue).requeue_lost()
    await post.wait(row, lambda state: state["state"] == "delivered")


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


@pytest.mark.parametrize(
    "answer", [b"", b"ok", b'{"err_code":0}', b'{"err_code":0.0,"err_msg":"fine"}', b'{"err_code":"0"}']
)
def test_answers_that_take_a_callback(answer: bytes) -> None:
    check_answer(answer)


@pytest.mark.parametrize(
    "answer",
    [b"{}", b"[]", b"null", b"0", b'{"err_code":-1}', b'{"err_code":false}', b'{"err_code":"-1"}', b"[" * 65536],
)
def test_answers_that_do_not_take_a_callback(answer: bytes) -> None:
    with pytest.raises(Undelivered):
        check_answer(answer)


async def test_a_lane_gives_a_last_callback_a_moment_to_leave(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("last") / "state", callbacks=CallbackSettings(url=receiver.url)
    )
    async with open_post(settings) as post:
        await post.end_task(40)
    assert receiver.of(40)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110  # rows and requests, no event
            await asyncio.sleep(0.05)
