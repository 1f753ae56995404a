"""Taking over what a dead machine left: in time, once, and never from one that was only out of reach for a moment."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from shared.errors import Unavailable
from shared.queue.client import DELIVER, HEARTBEAT_SECONDS, STALLED_SECONDS, AbandonedJob
from shared.tasks import heartbeats
from shared.tasks.heartbeats import FRESH_SECONDS, LOCK_RELEASE_SECONDS, UNWATCHED_SECONDS
from tests.support.task_store import Run, TaskStore, open_store

LONG = STALLED_SECONDS + 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with open_store(tmp_path_factory.mktemp("takeover")) as run:
        yield run


def test_the_timing_keeps_the_promise_of_45_seconds_and_spares_the_living() -> None:
    """The worst of every term at once; docs/scaling.md has the same sum."""
    between_looks = HEARTBEAT_SECONDS + FRESH_SECONDS
    polling = 5.0  # of a runner that missed the notification
    assert STALLED_SECONDS + between_looks + LOCK_RELEASE_SECONDS + polling < 45
    # A look that was lost with its host must not count as an outage of the storage.
    assert between_looks + LOCK_RELEASE_SECONDS < UNWATCHED_SECONDS
    # A short outage, with the heartbeat before it and the reconnection after it, does not count.
    assert HEARTBEAT_SECONDS + UNWATCHED_SECONDS + 5 < STALLED_SECONDS


def test_the_job_of_a_machine_that_is_gone_goes_back_to_the_queue(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row = await store.task()
        worker = await store.given_to_a_worker(row)
        await store.watched_for(LONG)
        await store.recovery.reap_dead_workers()
        assert (await store.read(row)).state == "running"  # its worker has just been heard
        await store.sql(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '26 seconds' WHERE id = %s", worker
        )
        await store.watched_for(LONG)
        await store.recovery.reap_dead_workers()
        now = await store.read(row)
        assert (now.state, now.crashes) == ("queued", 1)
        assert await store.queue_of(row) == ("interpo.generate@1.0", "todo")

    run(test)


def test_silence_means_death_only_where_the_storage_was_watched_all_the_time(run: Run) -> None:
    """When the storage or the network comes back after a while, every live worker looks stalled."""

    async def test(store: TaskStore) -> None:
        row = await store.task()
        await store.given_to_a_worker(row, silent_seconds=600)
        await store.watched_for(LONG, seen_ago=UNWATCHED_SECONDS + 1)  # an outage, then the first look after it
        await store.recovery.reap_dead_workers()
        assert (await store.read(row)).state == "running"
        await store.watched_for(STALLED_SECONDS - 1)
        await store.recovery.reap_dead_workers()
        assert (await store.read(row)).state == "running"
        await store.watched_for(STALLED_SECONDS + 1)
        await store.recovery.reap_dead_workers()
        assert (await store.read(row)).state == "queued"

    run(test)


def test_of_many_who_look_one_finds_and_nobody_waits_for_a_look_that_hangs(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        await store.watched_for(LONG)
        looks = []
        for _ in range(3):
            async with store.pool.transaction() as connection:
                looks.append(await heartbeats.is_watched(connection))
        assert looks == [True, False, False]
        await store.watched_for(LONG)
        async with store.pool.transaction() as cut_off:
            assert await heartbeats.is_watched(cut_off)
            async with store.pool.transaction() as connection:
                assert not await asyncio.wait_for(heartbeats.is_watched(connection), 2)

    run(test)


def test_a_dead_workers_job_is_taken_once_however_many_take_it(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        row = await store.task()
        await store.given_to_a_worker(row, silent_seconds=600)
        async with store.pool.transaction() as connection:
            [left] = await store.queue.stalled(connection)
        await asyncio.gather(*(store.recovery.recover_job(left) for _ in range(3)))
        assert (await store.read(row)).crashes == 1
        await store.given_to_a_worker(row)  # another machine has begun it
        await store.recovery.recover_job(left)  # and one that looked long ago acts only now
        now = await store.read(row)
        assert (now.state, now.attempt, now.crashes) == ("running", 2, 1)
        assert await store.queue_of(row) == ("interpo.generate@1.0", "doing")

    run(test)


def test_a_callback_in_a_dead_machines_hands_is_sent_by_another(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        [worker] = await store.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        [job] = await store.sql(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id) VALUES"
            " ('callbacks', %s, 'doing', %s) RETURNING id",
            DELIVER, worker["id"],
        )  # fmt: skip
        await store.recovery.recover_job(AbandonedJob(job["id"], worker["id"], DELIVER, None))
        assert await store.sql("SELECT status::text AS status FROM procrastinate_jobs") == [{"status": "todo"}]

    run(test)


def test_a_client_that_was_cut_off_in_a_transaction_loses_its_locks_before_its_work_is_taken_over(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        async with store.pool.raw.connection() as connection:
            cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
            assert await cursor.fetchone() == {"idle_in_transaction_session_timeout": "10s"}
        async with store.pool.transaction() as connection:
            await heartbeats.use_async_commit(connection)
            cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
            assert await cursor.fetchone() == {"idle_in_transaction_session_timeout": "5s"}

        async def vanish() -> None:
            async with store.pool.transaction() as connection:
                await connection.execute("SELECT set_config('idle_in_transaction_session_timeout', '100ms', true)")
                await connection.execute("UPDATE kinora_watch SET seen = now()")
                await asyncio.sleep(0.5)
                await connection.execute("SELECT 1")

        with pytest.raises(Unavailable):
            await vanish()
        await asyncio.wait_for(store.watched_for(1), 5)

    run(test)


def test_a_machine_that_comes_back_removes_the_scratch_of_what_was_taken_from_it(run: Run) -> None:
    async def test(store: TaskStore) -> None:
        gone, running, fresh = await store.task(1), await store.task(2), await store.task(3)
        await store.given_to_a_worker(running)
        for row in (gone, running, fresh):
            scratch = store.settings.state_dir / "work" / row.hex
            scratch.mkdir(parents=True)
            (scratch / "frames").write_text("x")
            if row != fresh:
                os.utime(scratch, (0, 0))
        (store.settings.state_dir / "work" / ("not" * 10 + "us")).mkdir()
        await store.recovery.remove_stale_workspaces()
        left = {path.name for path in (store.settings.state_dir / "work").iterdir()}
        assert left == {running.hex, fresh.hex, "not" * 10 + "us"}

    run(test)
