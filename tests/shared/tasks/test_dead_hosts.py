"""Taking over what a dead machine left: in time, once, and never from one that was only out of reach for a moment."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from shared.errors import Unavailable
from shared.queue import client
from shared.queue.client import BEAT_SECONDS, DELIVER, SILENT_SECONDS, Left, TryLater
from shared.queue.worker_slot import Slot
from shared.tasks import heartbeats
from shared.tasks.heartbeats import FRESH_SECONDS, LET_GO_SECONDS, UNWATCHED_SECONDS
from tests.support.task_store import House, Run, housed, work

LONG = SILENT_SECONDS + 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with housed(tmp_path_factory.mktemp("takeover")) as run:
        yield run


def test_the_timing_keeps_the_promise_of_45_seconds_and_spares_the_living() -> None:
    """The worst of every term at once; docs/scaling.md has the same sum."""
    between_looks = BEAT_SECONDS + FRESH_SECONDS
    polling = 5.0  # of a runner that missed the notification
    assert SILENT_SECONDS + between_looks + LET_GO_SECONDS + polling < 45
    # A look that was lost with its host must not count as an outage of the storage.
    assert between_looks + LET_GO_SECONDS < UNWATCHED_SECONDS
    # An outage that does not count as one, with a beat before it and the way back after it, is no silence yet.
    assert BEAT_SECONDS + UNWATCHED_SECONDS + 5 < SILENT_SECONDS


def test_the_job_of_a_machine_that_is_gone_goes_back_to_the_queue(run: Run) -> None:
    async def test(house: House) -> None:
        row = await house.task()
        worker = await house.given_to_a_worker(row)
        await house.watched_for(LONG)
        await house.chores.watch()
        assert (await house.read(row)).state == "running"  # its worker has just been heard
        await house.sql(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '26 seconds' WHERE id = %s", worker
        )
        await house.watched_for(LONG)
        await house.chores.watch()
        now = await house.read(row)
        assert (now.state, now.crashes) == ("queued", 1)
        assert await house.queue_of(row) == ("interpo.generate@1.0", "todo")

    run(test)


def test_silence_means_death_only_where_the_storage_was_watched_all_the_time(run: Run) -> None:
    """When the storage or the network comes back after a while, every live worker looks silent."""

    async def test(house: House) -> None:
        row = await house.task()
        await house.given_to_a_worker(row, silent_seconds=600)
        await house.watched_for(LONG, seen_ago=UNWATCHED_SECONDS + 1)  # an outage, then the first look after it
        await house.chores.watch()
        assert (await house.read(row)).state == "running"
        await house.watched_for(SILENT_SECONDS - 1)
        await house.chores.watch()
        assert (await house.read(row)).state == "running"
        await house.watched_for(SILENT_SECONDS + 1)
        await house.chores.watch()
        assert (await house.read(row)).state == "queued"

    run(test)


def test_of_many_who_look_one_finds_and_nobody_waits_for_a_look_that_hangs(run: Run) -> None:
    async def test(house: House) -> None:
        await house.watched_for(LONG)
        looks = []
        for _ in range(3):
            async with house.pool.transaction() as connection:
                looks.append(await heartbeats.watch(connection))
        assert looks == [True, False, False]
        await house.watched_for(LONG)
        async with house.pool.transaction() as cut_off:
            assert await heartbeats.watch(cut_off)
            async with house.pool.transaction() as connection:
                assert not await asyncio.wait_for(heartbeats.watch(connection), 2)

    run(test)


def test_a_dead_workers_job_is_taken_once_however_many_take_it(run: Run) -> None:
    async def test(house: House) -> None:
        row = await house.task()
        await house.given_to_a_worker(row, silent_seconds=600)
        async with house.pool.transaction() as connection:
            [left] = await house.queue.silent(connection)
        await asyncio.gather(*(house.chores.settle_left(left) for _ in range(3)))
        assert (await house.read(row)).crashes == 1
        await house.given_to_a_worker(row)  # another machine has begun it
        await house.chores.settle_left(left)  # and one that looked long ago acts only now
        now = await house.read(row)
        assert (now.state, now.attempt, now.crashes) == ("running", 2, 1)
        assert await house.queue_of(row) == ("interpo.generate@1.0", "doing")

    run(test)


def test_a_callback_in_a_dead_machines_hands_is_sent_by_another(run: Run) -> None:
    async def test(house: House) -> None:
        [worker] = await house.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        [job] = await house.sql(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id) VALUES"
            " ('callbacks', %s, 'doing', %s) RETURNING id",
            DELIVER, worker["id"],
        )  # fmt: skip
        await house.chores.settle_left(Left(job["id"], worker["id"], DELIVER, None))
        assert await house.sql("SELECT status::text AS status FROM procrastinate_jobs") == [{"status": "todo"}]

    run(test)


@pytest.mark.parametrize("end", ["finishes", "puts back"])
def test_a_worker_that_comes_back_leaves_alone_what_somebody_else_has_by_now(
    run: Run, tmp_path: Path, end: str
) -> None:
    async def test(house: House) -> None:
        row = await house.task()
        slot, stopping = Slot(tmp_path, end), asyncio.Event()
        await slot.take(stopping)

        async def handler(_row: UUID) -> None:
            async with house.pool.transaction() as connection:
                assert await house.queue.holds(connection, row)
            [other] = await house.sql("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
            await house.sql("UPDATE procrastinate_jobs SET worker_id = %s WHERE status = 'doing'", other["id"])
            async with house.pool.transaction() as connection:
                assert not await house.queue.holds(connection, row)
            stopping.set()
            if end == "puts back":
                raise TryLater

        await asyncio.wait_for(house.queue.serve(work(house, handler), slot, stopping), 20)
        assert await house.queue_of(row) == ("interpo.generate@1.0", "doing")
        slot.free()

    run(test)


def test_a_worker_beats_while_it_works_and_while_it_waits_for_its_last_job(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "BEAT_SECONDS", 0.1)

    async def test(house: House) -> None:
        await house.task()
        slot, stopping = Slot(tmp_path, "slot"), asyncio.Event()
        await slot.take(stopping)

        async def beaten() -> None:
            await house.sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
            young = "SELECT 1 FROM procrastinate_workers WHERE last_heartbeat > now() - interval '1 minute'"
            while not await house.sql(young):  # noqa: ASYNC110  # a row, no event
                await asyncio.sleep(0.05)

        async def handler(_row: UUID) -> None:
            await beaten()
            stopping.set()
            await asyncio.sleep(0.3)  # the worker has stopped all that it did beside its job
            await beaten()

        await asyncio.wait_for(house.queue.serve(work(house, handler), slot, stopping), 20)
        slot.free()

    run(test)


def test_a_client_that_was_cut_off_in_a_transaction_loses_its_locks_before_its_work_is_taken_over(run: Run) -> None:
    async def test(house: House) -> None:
        async with house.pool.raw.connection() as connection:
            cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
            assert await cursor.fetchone() == {"idle_in_transaction_session_timeout": "10s"}
        async with house.pool.transaction() as connection:
            await heartbeats.hurry(connection)
            cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
            assert await cursor.fetchone() == {"idle_in_transaction_session_timeout": "5s"}

        async def vanish() -> None:
            async with house.pool.transaction() as connection:
                await connection.execute("SELECT set_config('idle_in_transaction_session_timeout', '100ms', true)")
                await connection.execute("UPDATE kinora_watch SET seen = now()")
                await asyncio.sleep(0.5)
                await connection.execute("SELECT 1")

        with pytest.raises(Unavailable):
            await vanish()
        await asyncio.wait_for(house.watched_for(1), 5)

    run(test)


def test_a_machine_that_comes_back_removes_the_scratch_of_what_was_taken_from_it(run: Run) -> None:
    async def test(house: House) -> None:
        gone, running, fresh = await house.task(1), await house.task(2), await house.task(3)
        await house.given_to_a_worker(running)
        for row in (gone, running, fresh):
            scratch = house.settings.state_dir / "work" / row.hex
            scratch.mkdir(parents=True)
            (scratch / "frames").write_text("x")
            if row != fresh:
                os.utime(scratch, (0, 0))
        (house.settings.state_dir / "work" / ("not" * 10 + "us")).mkdir()
        await house.chores.tidy()
        left = {path.name for path in (house.settings.state_dir / "work").iterdir()}
        assert left == {running.hex, fresh.hex, "not" * 10 + "us"}

    run(test)
