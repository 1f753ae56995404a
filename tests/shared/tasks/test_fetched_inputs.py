"""What a task's row says of its fetched inputs, and who removes them."""

from shared.contract.messages import Callback
from shared.tasks import callbacks, fetched_inputs
from shared.tasks.workspace import Workspace
from tests.support.task_store import TaskStore


def test_acceptance_notes_only_what_is_fetched() -> None:
    inputs = {"source_file": "image", "target_file": "picture_or_video"}
    assert fetched_inputs.note_of(inputs, ["target_file"]) == {"fetch": {"target_file": "picture_or_video"}}  # type: ignore[arg-type]
    assert fetched_inputs.note_of(inputs, []) == {}  # type: ignore[arg-type]


async def test_a_fetched_file_stays_for_the_next_attempt_and_goes_with_the_task(task_store: TaskStore) -> None:
    row = await task_store.claim(await task_store.task(fetch={"video_url": "video"}))
    assert row
    assert fetched_inputs.wanted(row) == {"video_url": "video"}
    workspace = Workspace(task_store.settings)
    workspace.prepare(row)
    left = [task_store.dist_dir / f".{row.mark}in-video_url{end}" for end in ("", ".1.part", ".1.part.note")]
    other = task_store.dist_dir / f"{row.mark}1.mp4"
    for path in (*left, other):
        path.write_bytes(b"x")
    workspace.prepare(row)
    assert all(path.exists() for path in left)
    assert not other.exists()
    other.write_bytes(b"the result")
    async with task_store.pool.transaction() as connection:
        await callbacks.finish_task(connection, task_store.queue, row, "succeeded", Callback(task_id=1))
    await task_store.recovery.requeue_lost()
    assert all(path.exists() for path in left)  # its runner may be about to do it
    await task_store.sql("UPDATE kinora_tasks SET finished_at = now() - interval '5 minutes'")
    await task_store.recovery.requeue_lost()
    assert not any(path.exists() for path in left)
    assert other.exists()
    assert (await task_store.read(row.id)).context == {}


async def test_a_task_that_waits_loses_its_files_with_its_cancel(task_store: TaskStore) -> None:
    row = await task_store.claim(await task_store.task(fetch={"video_url": "video"}))
    assert row
    workspace = Workspace(task_store.settings)
    workspace.prepare(row)
    left = task_store.dist_dir / f".{row.mark}in-video_url.1.part"
    left.write_bytes(b"x")
    workspace.clear(row)
    assert not left.exists()
