"""Taking over what a dead machine left: in time, once, and never from one that was only out of reach for a moment."""

import asyncio
import os

import pytest

from shared.errors import Unavailable
from shared.queue.client import DELIVER, HEARTBEAT_SECONDS, STALLED_SECONDS, AbandonedJob
from shared.tasks import heartbeats
from shared.tasks.heartbeats import FRESH_SECONDS, LOCK_RELEASE_SECONDS, UNWATCHED_SECONDS
from tests.support.task_store import TaskStore

LONG = STALLED_SECONDS + 5


def test_the_timing_keeps_the_promise_of_45_seconds_and_spares_the_living() -> None:
    """The worst of every term at once; docs/scaling.md has the same sum."""
    between_looks = HEARTBEAT_SECONDS + FRESH_SECONDS
    polling = 5.0  # of a runner that missed the notification
    assert STALLED_SECONDS + between_looks + LOCK_RELEASE_SECONDS + polling < 45
    # A look that was lost with its host must not count as an outage of the storage.
    assert between_looks + LOCK_RELEASE_SECONDS < UNWATCHED_SECONDS
    # A short outage, with the heartbeat before it and the reconnection after it, does not count.
    assert HEARTBEAT_SECONDS + UNWATCHED_SECONDS + 5 < STALLED_SECONDS


async def test_the_job_of_a_machine_that_is_gone_goes_back_to_the_queue(task_store: TaskStore) -> None:
    row = await task_store.task()
    worker = await task_store.given_to_a_worker(row)
    await task_store.watched_for(LONG)
    await task_store.recovery.reap_dead_workers()
    assert (await task_store.read(row)).state == "running"  # its worker has just been heard
    await task_store.sql(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '26 seconds' WHERE id = %s", worker
    )
    await task_store.watched_for(LONG)
    await task_store.recovery.reap_dead_workers()
    now = await task_store.read(row)
    assert (now.state, now.crashes) == ("queued", 1)
    assert await task_store.queue_of(row) == ("interpo.generate@1.0", "todo")


async def test_silence_means_death_only_where_the_storage_was_watched_all_the_time(task_store: TaskStore) -> None:
    """When the storage or the network comes back after a while, every live worker looks silent."""
    row = await task_store.task()
    await task_store.given_to_a_worker(row, silent_seconds=600)
    await task_store.watched_for(LONG, seen_ago=UNWATCHED_SECONDS + 1)  # an outage, then the first look after it
    await task_store.recovery.reap_dead_workers()
    assert (await task_store.read(row)).state == "running"
    await task_store.watched_for(STALLED_SECONDS - 1)
    await task_store.recovery.reap_dead_workers()
    assert (await task_store.read(row)).state == "running"
    await task_store.watched_for(STALLED_SECONDS + 1)
    await task_store.recovery.reap_dead_workers()
    assert (await task_store.read(row)).state == "queued"


async def test_of_many_who_look_one_finds_and_nobody_waits_for_a_look_that_hangs(task_store: TaskStore) -> None:
    await task_store.watched_for(LONG)
    looks = []
    for _ in range(3):
        async with task_store.pool.transaction() as connection:
            looks.append(await heartbeats.is_watched(connection))
    assert looks == [True, False, False]
    await task_store.watched_for(LONG)
    async with task_store.pool.transaction() as cut_off:
        assert await heartbeats.is_watched(cut_off)
        async with task_store.pool.transaction() as connection:
            assert not await asyncio.wait_for(heartbeats.is_watched(connection), 2)


async def test_a_dead_workers_job_is_taken_once_however_many_take_it(task_store: TaskStore) -> None:
    row = await task_store.task()
    await task_store.given_to_a_worker(row, silent_seconds=600)
    async with task_store.pool.transaction() as connection:
        [left] = await task_store.queue.stalled(connection)
    await asyncio.gather(*(task_store.recovery.recover_job(left) for _ in range(3)))
    assert (await task_store.read(row)).crashes == 1
    await task_store.given_to_a_worker(row)  # another machine has begun it
    await task_store.recovery.recover_job(left)  # and one that looked long ago acts only now
    now = await task_store.read(row)
    assert (now.state, now.attempt, now.crashes) == ("running", 2, 1)
    assert await task_store.queue_of(row) == ("interpo.generate@1.0", "doing")


async def test_a_callback_in_a_dead_machines_hands_is_sent_by_another(task_store: TaskStore) -> None:
    [worker] = await task_store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
    [job] = await task_store.sql(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id) VALUES"
        " ('callbacks', %s, 'doing', %s) RETURNING id",
        DELIVER, worker["id"],
    )  # fmt: skip
    await task_store.recovery.recover_job(AbandonedJob(job["id"], worker["id"], DELIVER, None))
    assert await task_store.sql("SELECT status::text AS status FROM procrastinate_jobs") == [{"status": "todo"}]


async def test_a_client_that_was_cut_off_in_a_transaction_loses_its_locks_before_its_work_is_taken_over(
    task_store: TaskStore,
) -> None:
    async with task_store.pool.raw.connection() as connection:
        cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
        assert await cursor.fetchone() == {"idle_in_transaction_session_timeout": "10s"}
    async with task_store.pool.transaction() as connection:
        await heartbeats.use_async_commit(connection)
        cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
        assert await cursor.fetchone() == {"idle_in_transaction_session_timeout": "5s"}

    async def vanish() -> None:
        async with task_store.pool.transaction() as connection:
            await connection.execute("SELECT set_config('idle_in_transaction_session_timeout', '100ms', true)")
            await connection.execute("UPDATE kinora_watch SET seen = now()")
            await asyncio.sleep(0.5)
            await connection.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await vanish()
    await asyncio.wait_for(task_store.watched_for(1), 5)


async def test_a_machine_that_comes_back_removes_the_scratch_of_what_was_taken_from_it(task_store: TaskStore) -> None:
    gone, running, fresh = await task_store.task(1), await task_store.task(2), await task_store.task(3)
    await task_store.given_to_a_worker(running)
    for row in (gone, running, fresh):
        scratch = task_store.settings.state_dir / "work" / row.hex
        scratch.mkdir(parents=True)
        (scratch / "frames").write_text("x")
        if row != fresh:
            os.utime(scratch, (0, 0))
    (task_store.settings.state_dir / "work" / ("not" * 10 + "us")).mkdir()
    await task_store.recovery.remove_stale_workspaces()
    left = {path.name for path in (task_store.settings.state_dir / "work").iterdir()}
    assert left == {running.hex, fresh.hex, "not" * 10 + "us"}
