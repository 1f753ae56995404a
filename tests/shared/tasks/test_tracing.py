"""A task's trace as its row tells it: every wait, every attempt, also those whose process is gone."""

import asyncio

import pytest

from shared.tasks import rows
from shared.tasks import tracing as task_tracing
from shared.tasks.recovery import TaskRecovery
from shared.tasks.rows import TaskRow
from shared.tasks.submission import enqueue
from shared.tracing.tracer import attempt_span_id
from tests.support.spans import SpanMemory
from tests.support.task_store import TaskStore

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def claimed(store: TaskStore) -> TaskRow:
    async with store.pool.transaction() as connection:
        row_id = await enqueue(
            connection, store.queue, service="interpo", kind="generate", task_id=1, fingerprint="1",
            request={"dist_dir": str(store.dist_dir)}, context={}, version="1.0", traceparent=CALLER,
        )  # fmt: skip
    row = await store.claim(row_id)
    assert row
    return row


async def test_the_place_in_the_trace_is_stored_with_the_task(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    assert (row.traceparent, row.trace_id) == (CALLER, "0af7651916cd43dd8448eb211c80319c")
    assert (await task_store.read(await task_store.task(2))).trace_id is None


async def test_a_dead_attempt_is_told_once_up_to_its_last_heartbeat(task_store: TaskStore) -> None:
    memory = SpanMemory()
    row = await claimed(task_store)
    await asyncio.sleep(0.01)
    async with task_store.pool.transaction() as connection:
        beaten = await rows.record_heartbeat(connection, row, 0.5)
    recovery = TaskRecovery(task_store.settings, task_store.pool, task_store.queue, memory.tracer)
    assert await recovery.recover_run(row.id)
    assert await recovery.recover_run(row.id)  # another finds it already queued
    told = memory.named("attempt")
    assert told.span_id == f"{attempt_span_id(row.id, 1):016x}"
    assert f"00-{told.trace_id}-{told.parent_id}-01" == CALLER
    assert beaten
    assert beaten.beat_at
    assert row.resumed_at
    assert (told.begun, told.ended) == pytest.approx((row.resumed_at.timestamp(), beaten.beat_at.timestamp()), abs=1e-5)
    assert (told.facts["kinora.outcome"], told.facts["error.type"], told.failed) == ("lost", "runner_lost", True)


async def test_every_wait_is_told_from_when_it_began(task_store: TaskStore) -> None:
    memory = SpanMemory()
    first = await claimed(task_store)
    task_tracing.record_wait(memory.tracer, first)
    await task_store.recovery.recover_run(first.id)
    requeued = await task_store.read(first.id)
    await asyncio.sleep(0.01)
    second = await task_store.claim(first.id)
    assert second
    task_tracing.record_wait(memory.tracer, second)
    waits = memory.spans
    assert [wait.facts["kinora.attempt"] for wait in waits] == [1, 2]
    assert first.resumed_at
    assert requeued.requeued_at
    assert second.resumed_at
    assert [(wait.begun, wait.ended) for wait in waits] == [
        pytest.approx((first.created_at.timestamp(), first.resumed_at.timestamp()), abs=1e-5),
        pytest.approx((requeued.requeued_at.timestamp(), second.resumed_at.timestamp()), abs=1e-5),
    ]


async def test_an_attempt_is_the_current_span_of_what_is_done_for_it(task_store: TaskStore) -> None:
    memory = SpanMemory()
    row = await claimed(task_store)
    with task_tracing.attempt(memory.tracer, row) as span:
        span.note({"kinora.outcome": "succeeded"})
    with task_tracing.helping(memory.tracer, row, 3):
        pass
    attempt, helped = memory.named("attempt"), memory.named("help")
    assert attempt.span_id == f"{attempt_span_id(row.id, 1):016x}"
    assert attempt.facts == {
        "kinora.service": "interpo",
        "kinora.kind": "generate",
        "kinora.task_id": 1,
        "kinora.attempt": 1,
        "kinora.outcome": "succeeded",
    }
    assert helped.facts["kinora.segment"] == 3
    assert helped.parent_id == attempt.parent_id == CALLER.split("-")[2]
