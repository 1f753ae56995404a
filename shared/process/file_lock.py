"""Locks between processes: flock on a file that stays. The kernel releases them when their holder ends, even by a kill.

Programs that the holder starts do not inherit the descriptor, so a child never keeps its parent's lock.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

POLL_SECONDS = 0.05


class FileLock:
    """One lock on one file: exclusive (`with`, `acquire`, `try_acquire`) or shared (`share`).

    Folders that are missing are made. Every way to take the lock raises OSError where the file cannot be made or the
    file system has no locks.
    """

    def __init__(self, path: Path, *, mode: int = 0o600) -> None:
        """Name the file; `mode` holds its permissions, less the umask, in case it must be made."""
        self.path = path
        self._mode = mode
        # Written by any thread, but only while it holds the lock: after taking it, and just before giving it back.
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    @property
    def fd(self) -> int:
        """The locked file's descriptor, for a note in the file; -1 while the lock is not held."""
        return self._fd

    def try_acquire(self) -> bool:
        """Take the exclusive lock unless somebody else holds it; return whether it is held now."""
        return self.held or self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def acquire(self, seconds: float | None = None) -> None:
        """Wait for the exclusive lock, for so many seconds at most; then raise TimeoutError."""
        self._wait(fcntl.LOCK_EX, seconds)

    def share(self, seconds: float | None = None) -> None:
        """Wait for a shared lock, for so many seconds at most; then raise TimeoutError."""
        self._wait(fcntl.LOCK_SH, seconds)

    def holder(self) -> int | None:
        """Return the pid of a process that has the file open and locked, None when that cannot be found out."""
        with suppress(OSError):
            inode = self.path.stat().st_ino
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 fd:00:131 0 EOF
                if words[1] == "FLOCK" and words[5].endswith(f":{inode}") and _has_open(int(words[4]), self.path):
                    return int(words[4])
        return None

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self.held:
            descriptor, self._fd = self._fd, -1  # before the close: after it another thread may hold the lock
            os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _wait(self, operation: int, seconds: float | None) -> None:
        if seconds is None:
            self._lock(operation)
            return
        deadline = time.monotonic() + seconds
        while not self._lock(operation | fcntl.LOCK_NB):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.path} is locked")
            time.sleep(POLL_SECONDS)

    def _lock(self, operation: int) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
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


def _has_open(pid: int, path: Path) -> bool:
    """Whether a process has this very file open: inodes of two file systems may have one number."""
    wanted = path.stat()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.path.samestat(descriptor.stat(), wanted):
                return True
    return False
