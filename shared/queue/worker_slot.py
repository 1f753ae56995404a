"""A slot: the place of one worker on this machine, taken by at most one live process, remembered by the next."""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path

from shared.process.file_lock import FileLock

NOTE_BYTES = 256
WAIT_SECONDS = 0.1


class Slot:
    """Exclusive while the process lives; what the last holder noted is still there for its successor."""

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
        """The id of the last worker that served from here, None when it left in order. Anybody may ask."""
        with suppress(ValueError, FileNotFoundError):
            worker = json.loads(self._lock.path.read_bytes() or b"{}").get("worker")
            return worker if isinstance(worker, int) else None
        return None

    def note_worker(self, worker: int | None) -> None:
        """Remember a worker in one write of constant length, so that a kill leaves the old note or the new one."""
        os.pwrite(self._lock.fd, json.dumps({"worker": worker}).encode().ljust(NOTE_BYTES), 0)
