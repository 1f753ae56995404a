"""Callbacks as parts of their tasks' traces: each try is told, and the receiver learns its place."""

from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

import pytest

from shared.contract.messages import Callback
from shared.delivery.sender import CallbackSender
from shared.queue.worker import TryLater
from shared.settings import CallbackSettings
from shared.tasks import callbacks, rows
from shared.testing.callback_receiver import Receiver
from shared.tracing.tracer import Tracer
from tests.support.spans import SpanMemory
from tests.support.task_store import TaskStore

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, CALLERS_SPAN = CALLER.split("-")[1:3]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def ended(store: TaskStore, traceparent: str | None) -> UUID:
    """Write a task that has ended; return the key of its callback."""
    async with store.pool.transaction() as connection:
        row_id = await rows.insert(
            connection, service="upscale", kind="generate", task_id=1, fingerprint="", request={}, context={},
            version="1.0", traceparent=traceparent,
        )  # fmt: skip
        row = await rows.read(connection, row_id)
        assert row
        assert await callbacks.finish_task(connection, store.queue, row, "succeeded", Callback(task_id=1))
    [stored] = await store.sql("SELECT id FROM kinora_callbacks WHERE task = %s", row_id)
    key: UUID = stored["id"]
    return key


async def deliver(store: TaskStore, receiver: Receiver, key: UUID, tracer: Tracer) -> None:
    settings = store.settings.model_copy(update={"callbacks": CallbackSettings(url=receiver.url)})
    sender = CallbackSender(settings, store.pool, tracer=tracer)
    try:
        with suppress(TryLater):
            await sender.deliver(key)
    finally:
        await sender.close()


async def test_every_try_is_told_and_the_receiver_gets_its_place(task_store: TaskStore, receiver: Receiver) -> None:
    memory = SpanMemory()
    key = await ended(task_store, CALLER)
    receiver.behave = lambda _delivery: "http 500"
    await deliver(task_store, receiver, key, memory.tracer)
    receiver.behave = lambda _delivery: "ok"
    await deliver(task_store, receiver, key, memory.tracer)
    refused, taken = memory.spans
    assert (refused.name, taken.name) == ("callback", "callback")
    assert {(span.trace_id, span.parent_id) for span in memory.spans} == {(TRACE, CALLERS_SPAN)}
    assert [(span.facts["kinora.try"], span.facts.get("error.type")) for span in (refused, taken)] == [
        (1, "refused"),
        (2, None),
    ]
    received = receiver.wait_for(1, timeout_seconds=10)
    assert received.headers["traceparent"] == f"00-{TRACE}-{taken.span_id}-01"


@pytest.mark.parametrize("traceparent", [CALLER, None])
async def test_without_an_endpoint_the_callers_own_place_comes_back(
    task_store: TaskStore, receiver: Receiver, traceparent: str | None
) -> None:
    await deliver(task_store, receiver, await ended(task_store, traceparent), Tracer())
    assert receiver.wait_for(1, timeout_seconds=10).headers.get("traceparent") == traceparent
