"""What a task's row says of its trace: how long it waited, its attempts, and those whose process died with them."""

import asyncio
from contextlib import AbstractContextManager, suppress

from shared.tasks.rows import TaskRow
from shared.tracing.span import Facts, Span, current
from shared.tracing.tracer import Tracer, attempt_span_id

FLUSH_SECONDS = 2.0


def attempt(tracer: Tracer, row: TaskRow) -> AbstractContextManager[Span]:
    """Return the span of a claimed row's attempt, to be the current one of what is done for it."""
    span_id = attempt_span_id(row.id, row.attempt)
    return tracer.span("attempt", row.traceparent, "consumer", _facts(row), span_id=span_id)


def record_wait(tracer: Tracer, row: TaskRow) -> None:
    """Record how long a row waited that has just been claimed."""
    begun = row.created_at if row.attempt == 1 else row.requeued_at
    if begun is not None:  # an older version requeued it and did not say when
        tracer.begin("wait", row.traceparent, facts=_facts(row), at=begun).end(row.resumed_at)


def record_lost(tracer: Tracer, row: TaskRow) -> None:
    """Record the attempt of a row as it was found after its process had died: it ends with its last heartbeat."""
    span_id = attempt_span_id(row.id, row.attempt)
    span = tracer.begin("attempt", row.traceparent, "consumer", _facts(row), at=row.resumed_at, span_id=span_id)
    span.note({"kinora.outcome": "lost"})
    span.fail("runner_lost")
    span.end(row.beat_at)


async def end_with_process(tracer: Tracer, reason: str | None) -> None:
    """End the current attempt's span before its process ends; nobody waits long for who collects spans."""
    span = current()
    span.note({"kinora.outcome": "unresponsive"})
    span.fail(reason or "unresponsive")
    span.end()
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(tracer.flush), FLUSH_SECONDS)


def helping(tracer: Tracer, row: TaskRow, segment: int) -> AbstractContextManager[Span]:
    """Return the span of one segment that another runner makes for a row's attempt."""
    return tracer.span("help", row.traceparent, "consumer", {**_facts(row), "kinora.segment": segment})


def _facts(row: TaskRow) -> Facts:
    return {
        "kinora.service": row.service,
        "kinora.kind": row.kind,
        "kinora.task_id": row.task_id,
        "kinora.attempt": row.attempt,
    }
