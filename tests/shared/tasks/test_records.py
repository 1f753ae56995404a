"""Records over a real PostgreSQL: pages of many tasks, searches, changes, all about one task, tries of callbacks."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from shared.contract.messages import Callback, TaskView
from shared.database.pool import Connection
from shared.errors import Unavailable
from shared.metrics.service_metrics import ServiceMetrics
from shared.serving.task_records import TaskRecords
from shared.serving.turns import Turns
from shared.tasks import callbacks, records, rows, tries, views
from shared.tasks.records import RecordQuery, inside
from shared.tasks.rows import TaskRow
from shared.tasks.tries import KEPT, Try
from tests.support.task_store import TaskStore


async def many(task_store: TaskStore, count: int, first: int = 1) -> None:
    """Write tasks that have ended, several in the same instant."""
    await task_store.sql(
        "INSERT INTO kinora_tasks (id, service, kind, task_id, fingerprint, request, version, state, created_at,"
        " finished_at, result) SELECT gen_random_uuid(), 'interpo', 'generate', n, n::text,"
        " jsonb_build_object('video_url', '/media/clip ' || n || '.mp4', 'dist_dir', '/media/out'), '1.0', 'succeeded',"
        " now() - make_interval(secs => (n / 3)::int), now() - interval '1 hour',"
        " json_build_object('task_id', n, 'video_url', n || '_interpo.mp4') FROM generate_series(%s::int, %s::int) n",
        first, first + count - 1,
    )  # fmt: skip


async def page(task_store: TaskStore, **query: Any) -> list[dict[str, Any]]:
    async with task_store.pool.transaction() as connection:
        return await records.page(connection, "interpo", RecordQuery(**query))


async def full(task_store: TaskStore, task_id: int, **which: Any) -> list[dict[str, Any]]:
    async with task_store.pool.transaction() as connection:
        return await records.full(connection, "interpo", task_id, **which)


async def end(task_store: TaskStore, row: UUID) -> UUID:
    """End a task and return the key of its callback."""
    async with task_store.pool.transaction() as connection:
        found = await rows.read(connection, row)
        assert found
        body = Callback(task_id=found.task_id, video_url="a.mp4")
        assert await callbacks.finish_task(connection, task_store.queue, found, "succeeded", body)
        key = await records.newest_callback(connection, row)
    assert key
    return key


async def test_pages_walk_through_all_tasks_once_also_those_of_one_instant(task_store: TaskStore) -> None:
    await many(task_store, 100)
    seen: list[int] = []
    place: tuple[datetime, str] | None = None
    while found := await page(task_store, before=place, limit=7):
        seen += [record["task_id"] for record in found]
        place = found[-1]["created_at"], found[-1]["id"]
    assert sorted(seen) == list(range(1, 101))


async def test_a_page_of_a_hundred_thousand_tasks_comes_at_once(task_store: TaskStore) -> None:
    await many(task_store, 100_000)
    await task_store.sql("ANALYZE kinora_tasks")
    half = (await task_store.sql("SELECT created_at, id FROM kinora_tasks ORDER BY created_at OFFSET 50000 LIMIT 1"))[0]
    for query, limit in (
        ({}, 0.5),
        ({"before": (half["created_at"], str(half["id"]))}, 0.5),
        ({"task_id": 77_777}, 0.5),
        ({"state": "succeeded", "before": (half["created_at"], str(half["id"]))}, 0.5),
        ({"words": "clip 99999."}, 5.0),
        ({"words": "no such name"}, 5.0),
    ):
        begun = time.monotonic()
        await page(task_store, **query)
        assert time.monotonic() - begun < limit, query
    async with task_store.pool.transaction() as connection:
        begun = time.monotonic()
        assert await records.changed(connection, "interpo", 60) == []
        assert time.monotonic() - begun < 0.5


async def test_a_search_finds_beginnings_of_ids_and_parts_of_names_and_takes_no_pattern(task_store: TaskStore) -> None:
    await many(task_store, 130)

    async def found(words: str) -> set[int]:
        return {record["task_id"] for record in await page(task_store, words=words, limit=200)}

    assert await found("12") == {12, *range(120, 130), 112}  # 112: in its names
    assert await found("CLIP 7.MP4") == {7}
    assert await found("130_inter") == {130}
    assert await found("%") == await found("_ %") == await found("'") == set()


async def test_a_record_has_what_it_reads_what_it_made_and_a_picture_to_show(task_store: TaskStore) -> None:
    await many(task_store, 1)
    [record] = await page(task_store)
    assert record["inputs"] == [{"field": "video_url", "path": "/media/clip 1.mp4"}]
    assert record["results"] == [{"field": "video_url", "name": "1_interpo.mp4", "path": "/media/out/1_interpo.mp4"}]
    assert record["thumbnail"] == "/media/out/1_interpo.mp4"
    assert record["previews"] == []
    assert (record["task_id_text"], record["cancel"], record["version"]) == ("1", False, "1.0")


async def test_a_url_has_no_picture_to_show(task_store: TaskStore) -> None:
    await many(task_store, 1)
    await task_store.sql(
        "UPDATE kinora_tasks SET result = NULL,"
        """ request = request || '{"video_url": "https://cdn.example.com/a.mp4"}'"""
    )
    [record] = await page(task_store)
    assert record["inputs"] == [{"field": "video_url", "path": "https://cdn.example.com/a.mp4"}]
    assert record["thumbnail"] is None
    assert (await full(task_store, 1))[0]["runs"][0]["state"] == "succeeded"


async def test_a_record_has_each_path_of_a_list_and_the_pictures_on_the_way(task_store: TaskStore) -> None:
    await many(task_store, 1)
    await task_store.sql(
        """UPDATE kinora_tasks SET details = details || '{"previews": ["1_step1.jpg", "1_step2.jpg"]}',
        request = request::jsonb || '{"reference_images": ["/media/a.png", "/media/b.png"]}'"""
    )
    [record] = await page(task_store)
    given = [one["path"] for one in record["inputs"] if one["field"] == "reference_images"]
    assert given == ["/media/a.png", "/media/b.png"]
    assert record["previews"] == ["/media/out/1_step1.jpg", "/media/out/1_step2.jpg"]


async def test_a_record_has_the_source_of_each_entry_of_faces(task_store: TaskStore) -> None:
    await many(task_store, 1)
    await task_store.sql(
        """UPDATE kinora_tasks SET request = request::jsonb || '{"faces": [{"source_file": "/media/a.png",
        "face_analyse_gender": "male"}, {"source_file": ""}, {"source_file": "/media/b.mp4"}]}'"""
    )
    [record] = await page(task_store)
    given = [one["path"] for one in record["inputs"] if one["field"] == "faces.source_file"]
    assert given == ["/media/a.png", "/media/b.mp4"]
    assert "male" not in str(record["inputs"])


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("/media/out/", "/media/out/a b.mp4"),
        ("file:///media/o%20ut", "file:///media/o%20ut/a%20b.mp4"),
        ("D:\\media\\", "D:\\media\\a b.mp4"),
        ("D:/media", "D:/media/a b.mp4"),
    ],
)
def test_a_result_has_a_path_as_its_caller_writes_paths(folder: str, path: str) -> None:
    assert inside(folder, "a b.mp4") == path


async def test_all_runs_of_a_task_are_told_and_each_can_be_asked_for(task_store: TaskStore) -> None:
    first = await task_store.task(5)
    await end(task_store, first)
    second = await task_store.task(5)
    [record] = await full(task_store, 5)
    assert record["id"] == str(second)
    assert [run["id"] for run in record["runs"]] == [second, first]
    [older] = await full(task_store, 5, run=str(first))
    assert (older["state"], older["callbacks"][0]["state"]) == ("succeeded", "pending")
    assert await full(task_store, 5, kind="preview") == await full(task_store, 6) == []


async def test_every_try_is_told_the_newest_first_and_so_many_are_kept(task_store: TaskStore) -> None:
    row = await task_store.task(1)
    key = await end(task_store, row)
    async with task_store.pool.transaction() as connection:
        for number in range(KEPT + 5):
            await tries.note(connection, key, Try("refused", 0.5, 500 + number, "HTTP"))
        await tries.note(connection, key, Try("unreachable", 3.0, error="x" * 900))
        await tries.note(connection, UUID(int=0), Try("delivered", 0.1, 200))  # its callback was purged
    [callback] = (await full(task_store, 1))[0]["callbacks"]
    assert callback["id"] == key
    assert len(callback["tries"]) == KEPT
    assert [attempt["status"] for attempt in callback["tries"][:3]] == [None, 604, 603]
    assert len(callback["tries"][0]["error"]) == 500


async def test_tries_go_with_their_task(task_store: TaskStore) -> None:
    row = await task_store.task(1)
    key = await end(task_store, row)
    async with task_store.pool.transaction() as connection:
        await tries.note(connection, key, Try("delivered", 0.1, 200))
    await task_store.sql("UPDATE kinora_callbacks SET state = 'delivered'")
    await task_store.sql("UPDATE kinora_tasks SET finished_at = now() - interval '40 days'")
    async with task_store.pool.transaction() as connection:
        assert (await rows.purge(connection, keep_days=30, faces_keep_days=7))[0] == 1
    assert await task_store.sql("SELECT * FROM kinora_callback_tries") == []


async def test_changes_are_what_is_active_what_ended_lately_and_whose_callback_was_tried(task_store: TaskStore) -> None:
    await many(task_store, 3, first=100)  # ended an hour ago
    active, ended = await task_store.task(1), await task_store.task(2)
    await end(task_store, ended)
    [old] = await task_store.sql("SELECT id FROM kinora_tasks WHERE task_id = 101")
    async with task_store.pool.transaction() as connection:
        found = await rows.read(connection, old["id"])
        assert found
        key = await callbacks.enqueue_callback(connection, task_store.queue, found)
        before = await records.changed(connection, "interpo", 60)
        await tries.note(connection, key, Try("refused", 0.1, 500))
        after = await records.changed(connection, "interpo", 60)
    assert {record["id"] for record in before} == {str(active), str(ended)}
    assert {record["task_id"] for record in after} == {1, 2, 101}


async def test_a_task_and_its_callbacks_are_told_as_of_one_moment(
    task_store: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await task_store.task(1)
    shown = views.shown

    async def ended_meanwhile(connection: Connection, service: Any, found: Sequence[TaskRow]) -> list[TaskView]:
        """The run has been read as queued: now it ends, and its callback is there before the rest is read."""
        await end(task_store, row)
        return await shown(connection, service, found)

    monkeypatch.setattr(views, "shown", ended_meanwhile)
    asked = TaskRecords(
        "interpo", task_store.settings, storage=lambda: (task_store.pool, task_store.queue), turns=Turns(2),
        metrics=ServiceMetrics("interpo", task_store.settings, ("generate",), "1.0"), supervisors={},
        ready=lambda: True,
    )  # fmt: skip
    [told] = await asked.full(1)
    assert (told["state"], told["callback"]["state"], told["callbacks"]) == ("queued", "none", [])
    monkeypatch.undo()
    [told] = await asked.full(1)
    assert (told["state"], told["callback"]["state"], len(told["callbacks"])) == ("succeeded", "pending", 1)


async def test_who_reads_one_moment_writes_nothing(task_store: TaskStore) -> None:
    with pytest.raises(Unavailable):
        async with task_store.pool.transaction(snapshot=True) as connection:
            await connection.execute("DELETE FROM kinora_tasks")
    await task_store.task(1)  # and the connection is as before
