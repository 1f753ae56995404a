"""A slot: one worker's place on this machine. At most one live process holds it; a note in it outlives its holder."""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path

from shared.process.file_lock import FileLock

NOTE_BYTES = 256
WAIT_SECONDS = 0.1


class Slot:
    """Held by one process at a time, and free when that process ends; the holder's note stays for its successor."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self.name = name
        self._lock = FileLock(state_dir / "slots" / name)

    async def take(self, stopping: asyncio.Event) -> bool:
        """Wait until the slot is free; False when `stopping` was set first."""
        while not stopping.is_set():
            if self._lock.try_acquire():
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), WAIT_SECONDS)
        return False

    def free(self) -> None:
        self._lock.release()

    @property
    def worker(self) -> int | None:
        """The id of the slot's last worker, None when it stopped in good order; anybody may read it."""
        with suppress(ValueError, FileNotFoundError):
            worker = json.loads(self._lock.path.read_bytes() or b"{}").get("worker")
            return worker if isinstance(worker, int) else None
        return None

    def note_worker(self, worker: int | None) -> None:
        """Note a worker, in one write of constant length: a kill leaves either the old note or the new one."""
        os.pwrite(self._lock.fd, json.dumps({"worker": worker}).encode().ljust(NOTE_BYTES), 0)
