"""The data directory of the embedded PostgreSQL, checked once and then reached through a descriptor.

`/proc/self/fd/N` is a short plain path to it wherever it lies: below folders with spaces or other letters, deeper than
the 107 bytes of a socket's name, or behind a parent that the server's own user may not enter.
"""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from shared.database.server_account import Account, account_name
from shared.errors import Misconfigured

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 107
PLAIN_PATH = re.compile(r"[\w./+-]+", re.ASCII)
OTHERS = 0o077
LOG_TAIL_BYTES = 65_536


class DataDirectory:
    """One folder that belongs to the server alone; Kinora makes it or refuses it, and never changes its rights."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Written by one thread at a time, the one that starts the server; -1 while it is not open.
        self._fd = -1

    @property
    def fd(self) -> int:
        """The open folder, for a child that is to inherit it; -1 while there is none."""
        return self._fd

    @property
    def here(self) -> str:
        """A path to the folder that holds in this process, and in a child that inherits the descriptor."""
        return f"/proc/self/fd/{self._fd}"

    @property
    def host(self) -> str:
        """What a client names as its host: the folder's own path where that can be written into a URL as it is."""
        path = str(self.path.resolve())
        short = len(os.fsencode(path)) + len(f"/{SOCKET}") <= SOCKET_PATH_BYTES
        return path if short and PLAIN_PATH.fullmatch(path) else self.here

    def open(self) -> bool:
        """Open the folder unless it is open; return whether it holds a database. Raises Misconfigured, OSError."""
        if self._fd >= 0 and not self.is_gone():
            return True
        self.close()
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except NotADirectoryError as error:
            raise Misconfigured("data_directory_a_link", folder=self.path) from error
        except PermissionError as error:
            raise self._foreign(self.path.lstat().st_uid) from error
        self._check()
        return self.has("PG_VERSION")

    def make(self, account: Account) -> None:
        """Make the folder, for this account alone, and open it. Raises FileExistsError and other OSErrors."""
        self.path.mkdir(mode=0o700)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.fstat(self._fd).st_uid != account.uid:
            os.fchown(self._fd, account.uid, account.gid)

    def close(self) -> None:
        """Give the descriptor back; paths that went through it are void."""
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            os.close(descriptor)

    def is_gone(self) -> bool:
        """Whether the folder is no longer where it was opened, or was emptied. Raises OSError when nobody can tell."""
        try:
            there = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not os.path.samestat(there, os.fstat(self._fd)) or not self.has("PG_VERSION")

    def owner(self) -> int:
        """Return the user id that the folder belongs to."""
        return os.fstat(self._fd).st_uid

    def has(self, name: str) -> bool:
        """Whether there is a file of this name; a link is none."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def read(self, name: str, *, start: int = 0) -> str:
        """Return a file's text from this byte on, "" when it is missing; at most its last 64 KiB."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._fd)
        except FileNotFoundError:
            return ""
        with open(descriptor, "rb") as file:  # noqa: PTH123  # it has no path of its own
            file.seek(max(start, os.fstat(descriptor).st_size - LOG_TAIL_BYTES))
            return file.read(LOG_TAIL_BYTES).decode(errors="replace")

    def size(self, name: str) -> int:
        """Return a file's length in bytes, 0 when it is missing."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def write(self, name: str, text: str) -> bool:
        """Put this text into a file of the folder's owner, whole or not at all; return whether it was another."""
        if self.has(name) and self.read(name) == text:
            return False
        draft = f"{name}.kinora"
        self.remove(draft)
        owner = os.fstat(self._fd)
        # The folder's owner, who may be another user, cannot make this follow a link.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=self._fd)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # as above
            if os.fstat(descriptor).st_uid != owner.st_uid:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.rename(draft, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        return True

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def _check(self) -> None:
        """Refuse a folder that others may enter, or that the server must not own."""
        found = os.fstat(self._fd)
        problem = None
        if os.geteuid() == 0:
            if found.st_uid == 0:
                problem = Misconfigured("data_directory_of_root", folder=self.path)
        elif found.st_uid != os.geteuid():
            problem = self._foreign(found.st_uid)
        if not problem and found.st_mode & OTHERS:
            problem = Misconfigured("data_directory_open", folder=self.path)
        if problem:
            self.close()
            raise problem

    def _foreign(self, uid: int) -> Misconfigured:
        return Misconfigured("data_directory_foreign", folder=self.path, owner=account_name(uid) or uid)
