"""Versions side by side: tasks run on the version that accepted them, and on another only when that one is gone."""

import asyncio
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from shared.database.database import Database
from shared.database.migrate import MIGRATIONS, apply_schema
from shared.queue.client import CHANNEL, STALLED_SECONDS, queue_schema, run_queue
from shared.queue.worker import QueueWorker
from shared.queue.worker_slot import Slot
from shared.settings import Settings
from shared.tasks import heartbeats, rows, views
from shared.tasks.heartbeats import ABANDONED_SECONDS, AWAITED_SECONDS
from shared.vocabulary import SERVICES
from tests.support.task_store import TaskStore, open_store, plan_of, started_storage


async def alive(store: TaskStore, version: str, *, ago: float = 0, first_seen_ago: float = 0) -> None:
    """Have a runner of a version been heard so many seconds ago."""
    await store.sql(
        "INSERT INTO kinora_versions VALUES ('interpo', 'generate', %s, now() - make_interval(secs => %s),"
        " now() - make_interval(secs => %s)) ON CONFLICT (service, kind, version)"
        " DO UPDATE SET beat_at = excluded.beat_at",
        version, max(first_seen_ago, ago), ago,
    )  # fmt: skip


async def expected(store: TaskStore, version: str, *, ago: float = 0) -> None:
    """Have a service of a version, whose runners start elsewhere, been heard so many seconds ago."""
    async with store.pool.transaction() as connection:
        await heartbeats.record_face(connection, "interpo", "generate", version)
    await store.sql(
        "UPDATE kinora_versions SET face_at = now() - make_interval(secs => %s) WHERE version = %s", ago, version
    )


async def waits_since(store: TaskStore, row: UUID, seconds: float) -> None:
    await store.sql(
        "UPDATE kinora_tasks SET created_at = now() - make_interval(secs => %s) WHERE id = %s", seconds, row
    )


async def look(store: TaskStore) -> None:
    await store.watched_for(STALLED_SECONDS + 1)
    await store.recovery.reap_dead_workers()


async def test_a_task_waits_for_a_runner_of_the_version_that_accepted_it(task_store: TaskStore, tmp_path: Path) -> None:
    old, new = await task_store.task(1, version="1.0"), await task_store.task(2, version="2.0")
    slot, stopping = Slot(tmp_path, "slot"), asyncio.Event()
    await slot.take(stopping)
    ran = []

    async def handler(row: UUID) -> None:
        ran.append(row)
        stopping.set()

    await asyncio.wait_for(
        QueueWorker(task_store.pool.raw, slot).serve(plan_of(task_store, handler, version="2.0"), stopping), 20
    )
    assert ran == [new]
    assert await task_store.queue_of(old) == ("interpo.generate@1.0", "todo")
    slot.free()


async def test_tasks_of_a_version_without_a_live_runner_go_to_the_newest_that_lives_after_a_minute(
    task_store: TaskStore,
) -> None:
    row = await task_store.task(version="1.0")
    await alive(task_store, "1.0", ago=ABANDONED_SECONDS - 5, first_seen_ago=9000)
    await alive(task_store, "3.0", first_seen_ago=10)
    await alive(task_store, "2.0", first_seen_ago=20)
    await look(task_store)
    assert await task_store.queue_of(row) == ("interpo.generate@1.0", "todo")
    await alive(task_store, "1.0", ago=ABANDONED_SECONDS + 1)
    await look(task_store)
    assert await task_store.queue_of(row) == ("interpo.generate@3.0", "todo")
    now = await task_store.read(row)
    assert (now.version, now.runs_on) == ("1.0", "3.0")


async def test_after_a_rollback_the_older_version_takes_what_the_newer_had_accepted(task_store: TaskStore) -> None:
    row = await task_store.task(version="2.0")
    await alive(task_store, "1.0", first_seen_ago=9000)
    await alive(task_store, "2.0", ago=ABANDONED_SECONDS + 1, first_seen_ago=600)
    await look(task_store)
    assert await task_store.queue_of(row) == ("interpo.generate@1.0", "todo")


async def test_while_no_version_lives_tasks_stay_where_they_are_and_nothing_is_lost(task_store: TaskStore) -> None:
    row = await task_store.task(version="1.0")
    await alive(task_store, "1.0", ago=3600)
    await alive(task_store, "2.0", ago=STALLED_SECONDS + 1)
    await look(task_store)
    assert await task_store.queue_of(row) == ("interpo.generate@1.0", "todo")
    await alive(task_store, "2.0")
    await look(task_store)
    assert await task_store.queue_of(row) == ("interpo.generate@2.0", "todo")


async def test_a_version_whose_runner_is_still_starting_keeps_its_new_tasks(task_store: TaskStore) -> None:
    fresh, stale = await task_store.task(1, version="2.0"), await task_store.task(2, version="2.0")
    await task_store.sql("UPDATE kinora_tasks SET created_at = now() - interval '61 seconds' WHERE id = %s", stale)
    await alive(task_store, "1.0")
    await look(task_store)
    assert (await task_store.queue_of(fresh))[0] == "interpo.generate@2.0"
    assert (await task_store.queue_of(stale))[0] == "interpo.generate@1.0"


async def test_a_version_whose_service_expects_runners_keeps_its_tasks_until_one_could_have_started(
    task_store: TaskStore,
) -> None:
    """A canary at work must not take what waits for the stable version's first runner."""
    row = await task_store.task(version="1.0")
    await waits_since(task_store, row, ABANDONED_SECONDS + 60)
    await alive(task_store, "1.0", ago=3600)  # its last runner was scaled away an hour ago
    await expected(task_store, "1.0")
    await alive(task_store, "2.0")
    await look(task_store)
    assert (await task_store.queue_of(row))[0] == "interpo.generate@1.0"
    await waits_since(task_store, row, AWAITED_SECONDS + 1)
    await look(task_store)
    assert (await task_store.queue_of(row))[0] == "interpo.generate@2.0"


async def test_a_task_that_waits_again_waits_anew_for_a_runner_to_start(task_store: TaskStore) -> None:
    row = await task_store.task(version="1.0")
    await waits_since(task_store, row, AWAITED_SECONDS + 600)
    await task_store.sql("UPDATE kinora_tasks SET requeued_at = now() - interval '70 seconds'")  # its host was lost
    await expected(task_store, "1.0")
    await alive(task_store, "2.0")
    await look(task_store)
    assert (await task_store.queue_of(row))[0] == "interpo.generate@1.0"


async def test_what_a_withdrawn_version_had_accepted_has_runners_of_another_started(task_store: TaskStore) -> None:
    """No runner of any version lives: what waits for a version whose service expects runners brings them."""
    row = await task_store.task(version="2.0")
    await expected(task_store, "1.0")
    await expected(task_store, "2.0", ago=ABANDONED_SECONDS + 1)
    await waits_since(task_store, row, AWAITED_SECONDS + 1)
    await look(task_store)
    assert (await task_store.queue_of(row))[0] == "interpo.generate@1.0"
    assert (await task_store.read(row)).runs_on == "1.0"


async def test_two_versions_that_both_expect_runners_do_not_pass_a_task_to_and_fro(task_store: TaskStore) -> None:
    row = await task_store.task(version="1.0")
    await waits_since(task_store, row, 2 * AWAITED_SECONDS)
    await expected(task_store, "1.0")
    await expected(task_store, "2.0")
    for _ in range(2):
        await look(task_store)
        assert (await task_store.queue_of(row))[0] == "interpo.generate@1.0"


async def test_a_service_that_expects_runners_keeps_its_version_known_and_writes_seldom(task_store: TaskStore) -> None:
    async def written() -> tuple[str, str]:
        async with task_store.pool.transaction() as connection:
            await heartbeats.record_face(connection, "interpo", "generate", "1.0")
        [row] = await task_store.sql("SELECT xmin::text AS written, first_seen::text AS first FROM kinora_versions")
        return row["written"], row["first"]

    first = await written()
    assert await written() == first
    await task_store.sql("UPDATE kinora_versions SET face_at = now() - interval '3 seconds'")
    assert (await written())[1] == first[1]
    await task_store.recovery.purge()
    assert await task_store.sql("SELECT version FROM kinora_versions") == [{"version": "1.0"}]
    await task_store.sql("UPDATE kinora_versions SET face_at = now() - interval '40 days'")
    await task_store.recovery.purge()
    assert await task_store.sql("SELECT version FROM kinora_versions") == []


async def test_after_an_outage_of_the_storage_no_version_loses_its_tasks_before_it_can_speak(
    task_store: TaskStore,
) -> None:
    row = await task_store.task(version="1.0")
    await alive(task_store, "1.0", ago=600, first_seen_ago=9000)
    await alive(task_store, "2.0", first_seen_ago=600)  # was the first to find the storage again
    await task_store.watched_for(2)
    await task_store.recovery.reap_dead_workers()
    assert await task_store.queue_of(row) == ("interpo.generate@1.0", "todo")


async def test_several_may_hand_over_at_once_and_a_task_that_has_just_begun_stays(task_store: TaskStore) -> None:
    handed = [await task_store.task(task_id, version="1.0") for task_id in range(1, 21)]
    begun = await task_store.task(99, version="1.0")
    await task_store.sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE args->>'id' = %s", str(begun))
    await task_store.sql("UPDATE kinora_tasks SET created_at = now() - interval '1 hour'")
    await alive(task_store, "2.0")
    await asyncio.gather(*(task_store.recovery._reassign_orphans() for _ in range(4)))
    assert {(await task_store.queue_of(row))[0] for row in handed} == {"interpo.generate@2.0"}
    assert (await task_store.queue_of(begun))[0] == "interpo.generate@1.0"
    assert (await task_store.read(begun)).runs_on == "1.0"


async def test_a_task_that_was_taken_wakes_a_runner_that_waits(task_store: TaskStore) -> None:
    await task_store.task(version="1.0")
    await task_store.sql("UPDATE kinora_tasks SET created_at = now() - interval '1 hour'")
    async with await psycopg.AsyncConnection.connect(task_store.pool.raw.conninfo, autocommit=True) as listener:  # type: ignore[arg-type]  # a string here
        await listener.execute(f'LISTEN "{CHANNEL}interpo.generate@2.0"')
        await alive(task_store, "2.0")
        await look(task_store)
        assert [note.payload async for note in listener.notifies(timeout=5, stop_after=1)]


async def test_many_runners_of_a_version_say_so_in_one_write_and_a_version_long_gone_is_forgotten(
    task_store: TaskStore,
) -> None:
    async def say() -> str:
        async with task_store.pool.transaction() as connection:
            await heartbeats.record(connection, "interpo", "generate", "7.0")
        [row] = await task_store.sql("SELECT xmin::text AS written FROM kinora_versions WHERE version = '7.0'")
        return str(row["written"])

    first = await say()
    assert await say() == first
    await task_store.sql("UPDATE kinora_versions SET beat_at = now() - interval '3 seconds'")
    second = await say()
    assert second != first
    await task_store.sql("UPDATE kinora_versions SET beat_at = now() - interval '40 days'")
    await task_store.recovery.purge()
    assert await task_store.sql("SELECT 1 FROM kinora_versions") == []


async def test_a_place_in_the_queue_counts_only_those_that_the_same_runners_take(task_store: TaskStore) -> None:
    for task_id, version in ((1, "1.0"), (2, "2.0"), (3, "1.0"), (4, "2.0")):
        await task_store.task(task_id, version=version)
    async with task_store.pool.transaction() as connection:
        shown = await views.newest_runs(connection, "interpo", task_id=None, state=None, limit=9)
        assert await rows.waiting(connection, "interpo", "generate") == 4  # the bound is the service's
    assert {task.task_id: task.queue_position for task in shown} == {1: 1, 2: 1, 3: 2, 4: 2}


@pytest.mark.parametrize("service", SERVICES)
def test_the_longest_version_still_fits_into_the_name_of_a_notification_channel(service: str) -> None:
    version = "9" * 20
    assert Settings(version=version).version == version
    assert len(f"{CHANNEL}{run_queue(service, 'generate', version)}".encode()) <= 63
    with pytest.raises(ValueError, match="at most 20 characters"):
        Settings(version=version + "9")


async def test_a_database_of_the_first_release_is_upgraded_and_its_waiting_tasks_run(tmp_path: Path) -> None:
    """Release 0.1.0 kept no record of its schema, and its queues named no version."""
    settings = Settings(state_dir=tmp_path / "state", media_roots=(tmp_path,))
    database = Database(settings)
    database.start()
    with psycopg.connect(database.uri, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute(queue_schema())
        connection.execute((MIGRATIONS / "0001_tasks_and_callbacks.sql").read_text())
        accept_as_first_release(connection, 1)
        connection.execute("UPDATE kinora_tasks SET state = 'failed'")
        accept_as_first_release(connection, 1)  # the same job again
        apply_schema(database.uri)
        shown = connection.execute("SELECT newest, state FROM kinora_tasks ORDER BY created_at").fetchall()
        assert shown == [(False, "failed"), (True, "queued")]
        connection.execute("DELETE FROM kinora_tasks WHERE state = 'failed'")
        connection.execute("DELETE FROM procrastinate_jobs WHERE id NOT IN (SELECT job_id FROM kinora_tasks)")
        accept_as_first_release(connection, 2)  # the old release goes on beside the new one
        apply_schema(database.uri)
        applied = connection.execute("SELECT number FROM kinora_migrations ORDER BY number").fetchall()
        connection.execute("UPDATE kinora_tasks SET created_at = now() - interval '61 seconds'")
    assert applied == sorted((int(path.name.partition("_")[0]),) for path in MIGRATIONS.iterdir())
    assert len(set(applied)) == len(applied)
    database.stop()
    with started_storage(tmp_path) as storage:
        async with open_store(storage) as store:
            await alive(store, "0.1.0")  # the new one may even bear the same number
            await look(store)
            queues = await store.sql("SELECT queue_name, count(*) AS jobs FROM procrastinate_jobs GROUP BY 1")
            assert queues == [{"queue_name": "interpo.generate@0.1.0", "jobs": 2}]


def accept_as_first_release(connection: psycopg.Connection[tuple[object, ...]], task_id: int) -> None:
    connection.execute(
        "WITH job AS (INSERT INTO procrastinate_jobs (queue_name, task_name)"
        " VALUES ('interpo.generate', 'kinora.run') RETURNING id)"
        " INSERT INTO kinora_tasks (id, service, kind, task_id, fingerprint, request, version, job_id)"
        " SELECT gen_random_uuid(), 'interpo', 'generate', %s, '', '{}', '0.1.0', id FROM job",
        (task_id,),
    )


def test_a_newer_schema_is_left_as_it_is_by_an_older_version(tmp_path: Path) -> None:
    database = Database(Settings(state_dir=tmp_path / "state")).start()
    with psycopg.connect(database.uri, autocommit=True) as connection:
        connection.execute("INSERT INTO kinora_migrations VALUES (9999, 'of the future')")
        apply_schema(database.uri)
        assert connection.execute("SELECT max(number) FROM kinora_migrations").fetchone() == (9999,)
    database.stop()
