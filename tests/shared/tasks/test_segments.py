"""Rows of segments: fenced, counted once, and gone with their task."""

from typing import Any

from shared.contract.messages import Callback
from shared.tasks import callbacks, segments, views
from shared.tasks.recovery import CRASH_LIMIT, KILL_LIMIT
from shared.tasks.rows import TaskRow
from shared.tasks.workspace import Workspace
from tests.support.task_store import TaskStore

RECORD: dict[str, Any] = {
    "bytes": 5, "sha256": "abc", "frames": 10, "fingerprint": "f", "seconds": 1.5, "number": 0, "first_pts": 0,
}  # fmt: skip


async def claimed(store: TaskStore) -> TaskRow:
    row = await store.claim(await store.task())
    assert row
    return row


async def begin(store: TaskStore, row: TaskRow, number: int = 0, *, replaced: str | None = None) -> int | None:
    async with store.pool.transaction() as connection:
        begun = await segments.begin(
            connection,
            row,
            number,
            total=4,
            made_by="me",
            frames=(10 * number, None),
            fingerprint="f",
            replaced=replaced,
        )
    return begun.begun if begun else None


async def finish(store: TaskStore, row: TaskRow, begun: int | None, number: int = 0) -> bool:
    async with store.pool.transaction() as connection:
        return await segments.finish(connection, row, number, begun or 0, record=RECORD)


async def made(store: TaskStore, row: TaskRow, number: int = 0) -> None:
    assert await finish(store, row, await begin(store, row, number), number)


async def next_attempt(store: TaskStore, row: TaskRow, *, killed: bool = False, host_lost: bool = False) -> TaskRow:
    assert await store.recovery.recover_run(row.id, killed=killed, host_lost=host_lost)
    again = await store.claim(row.id)
    assert again
    return again


async def end(store: TaskStore, row: TaskRow) -> None:
    async with store.pool.transaction() as connection:
        await callbacks.finish_task(connection, store.queue, row, "succeeded", Callback(task_id=1))


async def test_a_finished_segment_is_what_was_kept(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    begun = await begin(task_store, row)
    assert begun == 1
    for _ in range(2):  # the answer to a commit may have been lost
        assert await finish(task_store, row, begun)
    async with task_store.pool.transaction() as connection:
        assert await segments.finished(connection, row.id) == [RECORD]


async def test_of_two_attempts_that_race_for_one_segment_only_the_newer_can_finish_it(task_store: TaskStore) -> None:
    old = await claimed(task_store)
    late = await begin(task_store, old)
    new = await next_attempt(task_store, old)
    assert not await finish(task_store, old, late)
    assert await begin(task_store, old) is None
    begun = await begin(task_store, new)
    assert begun == 2
    assert not await finish(task_store, old, late)
    assert not await finish(task_store, old, begun)
    assert not await finish(task_store, new, late)
    assert await finish(task_store, new, begun)


async def test_a_task_that_has_ended_takes_no_segment(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    begun = await begin(task_store, row)
    await end(task_store, row)
    assert not await finish(task_store, row, begun)
    assert await begin(task_store, row, 1) is None


async def test_a_segment_that_is_made_again_is_no_longer_finished(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    await made(task_store, row)
    assert await begin(task_store, row) == 0  # what is finished is not begun again by mistake
    assert await begin(task_store, row, replaced=RECORD["sha256"]) == 2
    async with task_store.pool.transaction() as connection:
        assert await segments.finished(connection, row.id) == []


async def test_the_first_attempt_s_plan_is_kept_for_whoever_makes_the_same(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    async with task_store.pool.transaction() as connection:
        assert await segments.plan(connection, row.id, "f") is None
    await begin(task_store, row)
    row = await next_attempt(task_store, row)
    async with task_store.pool.transaction() as connection:
        assert await segments.plan(connection, row.id, "f") == segments.Plan(4)
        assert await segments.plan(connection, row.id, "another model's") is None


async def test_three_deaths_in_one_segment_end_the_task_and_name_its_frames(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    await made(task_store, row)
    for _ in range(CRASH_LIMIT - 1):
        await begin(task_store, row, 2)
        row = await next_attempt(task_store, row)
    await begin(task_store, row, 2)
    assert not await task_store.recovery.recover_run(row.id)
    assert not await task_store.recovery.recover_run(row.id)
    ended = await task_store.read(row.id)
    assert ended.state == "failed"
    assert ended.result
    assert "3 times at about frames 20-" in ended.result["err_msg"]


async def test_deaths_in_different_segments_do_not_add_up(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    for number in range(2 * CRASH_LIMIT):
        for _ in range(CRASH_LIMIT - 1):
            await begin(task_store, row, number)
            row = await next_attempt(task_store, row)
        await made(task_store, row, number)
    assert (await task_store.read(row.id)).state == "running"
    row = await next_attempt(task_store, row)  # before it has begun any
    assert (await task_store.read(row.id)).state == "running"


async def test_kills_and_lost_hosts_are_no_crashes_of_a_task_that_gets_on(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    for number in range(2 * KILL_LIMIT):
        await begin(task_store, row, number)
        row = await next_attempt(task_store, row, killed=bool(number % 2), host_lost=not number % 2)
        await made(task_store, row, number)
        row = await next_attempt(task_store, row, killed=bool(number % 2), host_lost=not number % 2)
    assert (await task_store.read(row.id)).crashes == 0


async def test_a_task_that_is_killed_again_and_again_in_one_segment_has_an_end(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    await made(task_store, row)
    for _ in range(KILL_LIMIT - 1):
        await begin(task_store, row, 1)
        row = await next_attempt(task_store, row, killed=True)
    await begin(task_store, row, 1)
    assert not await task_store.recovery.recover_run(row.id, host_lost=True)
    ended = await task_store.read(row.id)
    assert ended.result
    assert "enough memory" in ended.result["err_msg"]


async def test_the_list_shows_what_is_done_running_repeated_and_by_whom(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    await made(task_store, row)
    await begin(task_store, row, 1)
    row = await next_attempt(task_store, row)
    await made(task_store, row, 1)
    await begin(task_store, row, 2)
    async with task_store.pool.transaction() as connection:
        [view] = await views.newest_runs(connection, "interpo", task_id=1, state=None, limit=5)
    assert view.details == {
        "segments": {"done": 2, "running": 1, "total": 4, "repeated": 1, "taken_over": 1, "by": {"me": 2}}
    }


async def test_what_a_killed_runner_left_of_an_ended_task_is_removed_later(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    await made(task_store, row)
    workspace = Workspace(task_store.settings)
    workspace.prepare(row)
    left = task_store.dist_dir / f".{row.mark}s-00000"
    other = task_store.dist_dir / f"{row.mark}1.mp4"
    for path in (left, other):
        path.write_bytes(b"x")
    workspace.prepare(row)
    assert left.exists()  # the next attempt needs it
    assert not other.exists()
    other.write_bytes(b"the result")
    await end(task_store, row)
    await task_store.recovery.requeue_lost()
    assert left.exists()  # its runner may be about to do it
    await task_store.sql("UPDATE kinora_tasks SET finished_at = now() - interval '5 minutes'")
    await task_store.recovery.requeue_lost()
    assert not left.exists()
    assert other.exists()
    assert await task_store.sql("SELECT 1 FROM kinora_segments") == []


async def test_a_task_that_waits_loses_its_segments_with_its_cancel(task_store: TaskStore) -> None:
    row = await claimed(task_store)
    workspace = Workspace(task_store.settings)
    workspace.prepare(row)
    left = task_store.dist_dir / f".{row.mark}s-00000"
    left.write_bytes(b"x")
    workspace.clear(row)
    assert not left.exists()
