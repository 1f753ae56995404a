"""Locks between processes that end with their holder, however it ends: flock on a file that stays.

The descriptor is not inherited by programs that are started, so a child never keeps its parent's lock.
"""

import fcntl
import os
from pathlib import Path
from typing import Self


class FileLock:
    """One lock on one file: exclusive (`with`, `try_acquire`) or shared (`share`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    @property
    def fd(self) -> int:
        """The locked file's descriptor, to keep a note in it."""
        return self._fd

    def try_acquire(self) -> bool:
        """Take the exclusive lock if nobody holds it; say whether it is held now."""
        return self.held or self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def acquire(self) -> None:
        """Wait for the exclusive lock."""
        self._lock(fcntl.LOCK_EX)

    def share(self) -> None:
        """Wait for a shared lock."""
        self._lock(fcntl.LOCK_SH)

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        if self.held:
            descriptor, self._fd = self._fd, -1  # first: from the close on another thread may hold the lock
            os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _lock(self, operation: int) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._fd = descriptor
        return True
