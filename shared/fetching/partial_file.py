"""A file that is being fetched: hidden in the folder of the task's results, and taken over by its next attempt.

Beside it lies a note: which version of the file it is, and how many of its bytes are safe on the disk. After a kill, or
a loss of power, the next attempt goes on after those. A lock on the file keeps an attempt that was taken for dead, and
still writes, from being taken over: its successor then begins anew, in a file of its own.
"""

import fcntl
import json
import os
import threading
from contextlib import suppress
from typing import Self

from shared.errors import UnreadableMedia
from shared.files.handles import InputFile, OutputDir, OutputFile, write_problem

INPUTS = "in-"  # behind a task's mark, as the names of its segments have a word of their own
SYNC_BYTES = 8 << 20  # so much at most is fetched again after a kill


def fetched_name(mark: str, field: str) -> str:
    """Return the hidden name of what was fetched for one field of a task."""
    return f".{mark}{INPUTS}{field}"


class PartialFile:
    """The file of one field, open for writing, from its creation or its takeover to `finish` or `close`."""

    def __init__(self, file: OutputFile, folder: OutputDir, *, sync_bytes: int = SYNC_BYTES) -> None:
        self._file = file
        self._folder = folder
        self._sync_bytes = sync_bytes
        self._note = f"{file.part}.note"
        self.size = 0
        self.validator = ""
        self._synced = 0
        self._lock = threading.Lock()  # a thread that is still writing when its caller was cancelled

    @classmethod
    def open(cls, folder: OutputDir, mark: str, field: str, maker: str, *, sync_bytes: int = SYNC_BYTES) -> Self:
        """Go on with what an earlier attempt has left, or begin; raise JobFailed where the folder refuses."""
        name = fetched_name(mark, field)
        for left in _left(folder, name):
            taken = _take_over(folder, left)
            if taken is not None:
                found = cls(taken, folder, sync_bytes=sync_bytes)
                found._read_note()
                return found
        try:
            file = folder.create(name[1:], "", part=f"{name}.{maker}.part")
        except OSError as error:
            raise write_problem(error, name) from error
        with suppress(OSError):  # a file system without locks: nobody takes the file over
            fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(file, folder, sync_bytes=sync_bytes)

    def restart(self, validator: str) -> None:
        """Begin with another version of the file; raise JobFailed."""
        try:
            with self._lock:
                os.ftruncate(self._file.fd, 0)
                self.size = self._synced = 0
                self.validator = validator
                self._write_note()
        except OSError as error:
            raise write_problem(error, self._file.name) from error

    def write(self, chunk: bytes) -> None:
        """Write behind the end; raise JobFailed."""
        view = memoryview(chunk)
        try:
            with self._lock:
                while view:
                    written = os.pwrite(self._file.fd, view, self.size)
                    self.size += written
                    view = view[written:]
                if self.size - self._synced >= self._sync_bytes:
                    os.fdatasync(self._file.fd)
                    self._synced = self.size
                    self._write_note()
        except OSError as error:
            raise write_problem(error, self._file.name) from error

    def finish(self) -> None:
        """Sync the file and give it the name under which every attempt looks for it; raise JobFailed."""
        with self._lock:
            self._file.keep_hidden(f".{self._file.name}")
        with suppress(FileNotFoundError):
            os.unlink(self._note, dir_fd=self._folder.fd)

    def close(self) -> None:
        """Leave the file to a later attempt, once a write that is under way has ended."""
        with self._lock:
            self._file.close()

    def _read_note(self) -> None:
        """Learn what of the file is safe; a note that is missing or torn means nothing is."""
        with (
            suppress(OSError, ValueError, KeyError, TypeError, UnreadableMedia),
            self._folder.open_hidden(self._note) as note,
        ):
            told = json.loads(os.pread(note.fd, 1 << 16, 0))
            safe, validator = int(told["bytes"]), str(told["version"])
            if validator and safe <= os.fstat(self._file.fd).st_size:
                os.ftruncate(self._file.fd, safe)
                self.size = self._synced = safe
                self.validator = validator

    def _write_note(self) -> None:
        told = json.dumps({"bytes": self._synced, "version": self.validator}).encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._note, flags, 0o600, dir_fd=self._folder.fd)
        try:
            os.write(descriptor, told)
        finally:
            os.close(descriptor)


def open_fetched(folder: OutputDir, mark: str, field: str) -> InputFile:
    """Open what was fetched for a field; raise OSError where it is not there, UnreadableMedia for what is no file."""
    return folder.open_hidden(fetched_name(mark, field))


def _left(folder: OutputDir, name: str) -> list[str]:
    """Return the unfinished files of one field, the newest first."""
    found = [
        (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
        for entry in os.scandir(folder.fd)
        if entry.name.startswith(f"{name}.") and entry.name.endswith(".part")
    ]
    return [left for _, left in sorted(found, reverse=True)]


def _take_over(folder: OutputDir, part: str) -> OutputFile | None:
    """Open an unfinished file that nobody writes any more; None where somebody does, or it cannot be known."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder.fd)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    stem = part[1:].rpartition(".part")[0].rpartition(".")[0]
    return OutputFile(descriptor, stem, "", folder=os.dup(folder.fd), part=part)
