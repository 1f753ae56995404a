"""A slot has one holder, and keeps the holder's note."""

import asyncio
from pathlib import Path

from shared.queue.worker_slot import Slot


async def test_only_one_process_holds_a_slot_and_waiting_for_it_can_be_given_up(tmp_path: Path) -> None:
    stopping = asyncio.Event()
    first, second = Slot(tmp_path, "one"), Slot(tmp_path, "one")
    assert await first.take(stopping)
    first.note_worker(12)
    waiting = asyncio.create_task(second.take(stopping))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    first.free()
    assert await waiting
    assert second.worker == 12
    stopping.set()
    assert not await first.take(stopping)
    second.free()
