"""Leases of segments: one holder each, and none for who was taken for dead."""

import asyncio
from typing import Any

import pytest

from shared.contract.messages import Callback
from shared.queue.client import HELP, AbandonedJob
from shared.tasks import callbacks, helping, rows, segments
from shared.tasks.helping import Claim
from shared.tasks.rows import TaskRow
from tests.support.task_store import TaskStore

RECORD: dict[str, Any] = {
    "bytes": 5, "sha256": "abc", "frames": 10, "fingerprint": "f", "seconds": 1.5, "number": 0, "first_pts": 0,
}  # fmt: skip


async def begun(store: TaskStore, *, total: int | None = 4) -> TaskRow:
    """Return a task whose own attempt makes the first of its segments."""
    row = await store.claim(await store.task())
    assert row
    assert await own(store, row, 0, total=total)
    return row


async def own(store: TaskStore, row: TaskRow, number: int, *, total: int | None = 4) -> segments.Begun | None:
    async with store.pool.transaction() as connection:
        return await segments.begin(
            connection, row, number, total=total, made_by="owner", frames=(0, None), fingerprint="f"
        )


async def claim(store: TaskStore, row: TaskRow, helper: int) -> Claim | None:
    async with store.pool.transaction() as connection:
        return await helping.claim(connection, row.id, helper, f"helper {helper}")


async def finish(store: TaskStore, row: TaskRow, helper: int, claimed: Claim | None) -> bool:
    assert claimed
    async with store.pool.transaction() as connection:
        return await segments.finish(connection, row, claimed.number, claimed.begun, record=RECORD, helper=helper)


async def renew(store: TaskStore, row: TaskRow, helper: int, claimed: Claim | None) -> bool:
    assert claimed
    async with store.pool.transaction() as connection:
        return await helping.renew(connection, row.id, helper, claimed)


async def silent(store: TaskStore, number: int) -> None:
    await store.sql("UPDATE kinora_segments SET beat_at = now() - interval '1 minute' WHERE number = %s", number)


async def calls(store: TaskStore) -> list[dict[str, Any]]:
    return await store.sql(
        "SELECT queue_name, priority, status::text FROM procrastinate_jobs WHERE task_name = %s", HELP
    )


async def call(store: TaskStore, row: TaskRow, most: int | None = None) -> None:
    async with store.pool.transaction() as connection:
        await helping.call(connection, store.queue, row, most)


async def test_helpers_take_segments_from_the_end_each_its_own(task_store: TaskStore) -> None:
    row = await begun(task_store)
    claims = [await claim(task_store, row, helper) for helper in (1, 2, 3, 4)]
    assert [found and found.number for found in claims] == [3, 2, 1, None]
    assert {(found.fingerprint, found.total) for found in claims if found} == {("f", 4)}
    assert await own(task_store, row, 1) == segments.Begun(0, 0)  # it is in other hands
    assert await finish(task_store, row, 1, claims[0])
    assert await own(task_store, row, 3) == segments.Begun(0, 0)  # it is finished


async def test_many_who_reach_at_once_never_get_the_same(task_store: TaskStore) -> None:
    row = await begun(task_store, total=20)
    claims = [found for found in await asyncio.gather(*(claim(task_store, row, n) for n in range(12))) if found]
    assert claims
    assert len({found.number for found in claims}) == len(claims)


async def test_nothing_is_lent_of_a_task_that_does_not_run_or_is_not_to_be_cut(task_store: TaskStore) -> None:
    unknown_length = await begun(task_store, total=None)
    assert await claim(task_store, unknown_length, 1) is None
    await task_store.clear()
    row = await begun(task_store)
    async with task_store.pool.transaction() as connection:
        await rows.ask_to_stop(connection, row.id)
    assert await claim(task_store, row, 1) is None


async def test_a_helper_that_was_taken_for_dead_can_neither_renew_nor_finish(task_store: TaskStore) -> None:
    row = await begun(task_store)
    late = await claim(task_store, row, 1)
    assert await renew(task_store, row, 1, late)
    await silent(task_store, 3)
    again = await claim(task_store, row, 2)
    assert again
    assert (again.number, again.begun) == (3, 2)
    assert not await renew(task_store, row, 1, late)
    assert not await finish(task_store, row, 1, late)
    assert not await finish(task_store, row, 1, again)
    assert await finish(task_store, row, 2, again)


async def test_the_task_s_own_attempt_takes_what_a_silent_helper_held(task_store: TaskStore) -> None:
    row = await begun(task_store)
    late = await claim(task_store, row, 1)
    await silent(task_store, 3)
    taken = await own(task_store, row, 3)
    assert taken
    assert taken.begun == 2
    assert not await finish(task_store, row, 1, late)


async def test_a_helper_outlives_the_attempt_that_it_helped(task_store: TaskStore) -> None:
    row = await begun(task_store)
    claimed = await claim(task_store, row, 1)
    assert await task_store.recovery.recover_run(row.id, killed=True)
    assert await renew(task_store, row, 1, claimed)
    assert await claim(task_store, row, 2) is None  # nothing new until an attempt runs again
    again = await task_store.claim(row.id)
    assert again
    assert await own(task_store, again, 3) == segments.Begun(0, 0)
    assert await finish(task_store, row, 1, claimed)


async def test_a_cancel_and_an_end_stop_helpers_with_their_next_heartbeat(task_store: TaskStore) -> None:
    row = await begun(task_store)
    first, second = await claim(task_store, row, 1), await claim(task_store, row, 2)
    async with task_store.pool.transaction() as connection:
        await rows.ask_to_stop(connection, row.id)
    assert not await renew(task_store, row, 1, first)
    assert not await finish(task_store, row, 1, first)
    async with task_store.pool.transaction() as connection:
        await callbacks.finish_task(connection, task_store.queue, row, "cancelled", Callback(task_id=1))
    assert not await renew(task_store, row, 2, second)
    assert not await finish(task_store, row, 2, second)


@pytest.mark.parametrize("killed", [True, False])
async def test_a_dead_helper_s_segment_is_free_at_once_but_left_to_the_own_attempt_where_it_crashed(
    task_store: TaskStore, *, killed: bool
) -> None:
    row = await begun(task_store)
    await call(task_store, row)
    [worker] = await task_store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
    [job] = await task_store.sql(
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE task_name = %s RETURNING id",
        worker["id"], HELP,
    )  # fmt: skip
    held = await claim(task_store, row, worker["id"])
    for _ in range(2):  # the second time changes nothing
        await task_store.recovery.recover_job(AbandonedJob(job["id"], worker["id"], HELP, row.id), killed=killed)
    assert not await renew(task_store, row, worker["id"], held)
    assert not await finish(task_store, row, worker["id"], held)
    other = await claim(task_store, row, 99)
    assert other
    assert other.number == (3 if killed else 2)
    if not killed:
        taken = await own(task_store, row, 3)
        assert taken
        assert (taken.begun, taken.crashes) == (2, 1)


async def test_one_call_waits_at_a_time_behind_all_tasks_and_no_more_help_than_wanted(task_store: TaskStore) -> None:
    row = await begun(task_store)
    for _ in range(3):
        await call(task_store, row)
    assert await calls(task_store) == [{"queue_name": "interpo.generate@1.0", "priority": -1, "status": "todo"}]
    await task_store.sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE task_name = %s", HELP)
    await call(task_store, row, 1)
    await call(task_store, row, 0)
    assert len(await calls(task_store)) == 1
    await call(task_store, row, 2)
    assert len(await calls(task_store)) == 2


async def test_those_who_begin_and_call_at_once_do_not_wait_for_each_other_in_a_ring(
    task_store: TaskStore, caplog: pytest.LogCaptureFixture
) -> None:
    row = await begun(task_store, total=40)

    async def begin_and_call(number: int) -> None:
        async with task_store.pool.transaction() as connection:
            if number % 2:
                await helping.claim(connection, row.id, number, "helper")
            else:
                await segments.begin(
                    connection, row, number, total=40, made_by="owner", frames=(0, None), fingerprint="f"
                )
            await asyncio.sleep(0.05)
            await helping.call(connection, task_store.queue, row, None)

    for first in range(1, 20, 4):
        await asyncio.gather(*(begin_and_call(number) for number in range(first, first + 4)))
    assert "deadlock" not in caplog.text


async def test_nobody_is_called_for_whom_nothing_is_left(task_store: TaskStore) -> None:
    row = await begun(task_store, total=2)
    await call(task_store, row)
    await task_store.sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE task_name = %s", HELP)
    await call(task_store, row)  # the one who is coming is enough for the one segment that is left
    assert len(await calls(task_store)) == 1
    assert await claim(task_store, row, 1)
    await call(task_store, row)
    assert len(await calls(task_store)) == 1
    await task_store.clear()
    alone = await begun(task_store, total=1)
    await call(task_store, alone)
    assert await calls(task_store) == []


async def test_with_a_task_its_calls_for_help_end(task_store: TaskStore) -> None:
    row = await begun(task_store)
    await call(task_store, row)
    async with task_store.pool.transaction() as connection:
        await helping.end(connection, task_store.queue, row.id)
    assert await calls(task_store) == []
    assert await task_store.sql("SELECT 1 FROM kinora_segments") == []
