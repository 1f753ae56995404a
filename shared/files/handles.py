"""Opened files and folders, checked on their descriptors: all code that reads or writes media uses one of these."""

import ctypes
import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.errors import JobFailed, UnreadableMedia

_TRIAL = "kinora-trial"  # always the same name, so that the next trial removes a file that a killed process left
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_UNNAMED_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
_RENAME_NOREPLACE = 1


class _Descriptor:
    """Something open that closes at the end of its `with` block."""

    fd: int

    @property
    def url(self) -> str:
        """The name under which this process, libav and Pillow included, may open the same file again."""
        return f"/proc/self/fd/{self.fd}"

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class InputFile(_Descriptor):
    """An opened regular file inside a media root."""

    fd: int
    name: str  # bare, for messages
    size: int  # bytes
    mtime_ns: int
    origin: str = field(default="", repr=False)  # the URL that it was fetched from; its query may be a secret

    @property
    def stamp(self) -> str:
        """Size and time of change at the opening: another file under the same name has another stamp."""
        return f"{self.size} {self.mtime_ns}"

    def check_unchanged(self) -> None:
        """Raise JobFailed when the file has changed since it was opened."""
        status = os.fstat(self.fd)
        if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
            raise JobFailed("source_changed", name=self.name)


@dataclass
class OutputDir(_Descriptor):
    """An opened `dist_dir`; everything in it happens through its descriptor."""

    fd: int
    path: Path  # for messages and the disk check, never for opening

    def check_writable(self) -> None:
        """Raise the OSError of a folder in which no file can be created. A kill meanwhile leaves no lasting file."""
        try:
            os.close(os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=self.fd))
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:  # some network shares
                raise
            with suppress(FileNotFoundError):
                os.unlink(f".{_TRIAL}.part", dir_fd=self.fd)
            with suppress(FileExistsError):  # another process tries it at this moment, and can
                self.create(_TRIAL, "").discard()

    def create(self, stem: str, suffix: str, *, part: str = "") -> "OutputFile":
        """Create the hidden temporary file, `.{stem}{suffix}.part` unless `part` names it; raise OSError if that fails.

        Two files of one name may be made at the same time where each has a `part` of its own.
        """
        part = part or f".{stem}{suffix}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(part, flags, 0o644, dir_fd=self.fd)
        # A descriptor of its own: the file outlives the `with` block of its folder.
        return OutputFile(descriptor, stem, suffix, folder=os.dup(self.fd), part=part)

    def open_hidden(self, name: str) -> InputFile:
        """Open what `keep_hidden` kept; raise OSError, or UnreadableMedia for what is no regular file."""
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.fd)
        try:
            status = _regular(descriptor, name)
        except BaseException:
            os.close(descriptor)
            raise
        return InputFile(descriptor, name, status.st_size, status.st_mtime_ns)

    def shorten_hidden(self, name: str, length: int, kept: int) -> None:
        """Cut a file that `keep_hidden` kept and that is `length` bytes long to `kept` bytes; leave one of another
        length as it is. Raises as `open_hidden`.
        """  # fmt: skip
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, dir_fd=self.fd)
        try:
            if _regular(descriptor, name).st_size == length:
                os.ftruncate(descriptor, kept)
        finally:
            os.close(descriptor)

    @property
    def free_bytes(self) -> int:
        """How much its file system still takes."""
        usage = os.fstatvfs(self.fd)
        return usage.f_bavail * usage.f_frsize

    def sweep(self, prefix: str, *, but: tuple[str, ...] = ()) -> list[str]:
        """Remove what an attempt left behind, published or not, and return the names.

        `7_upscale_0badcafe-1` means the first attempt only, not the tenth; `7_upscale_0badcafe-` means all of them.
        What goes on with one of `but` behind the prefix stays.
        """
        word = prefix[-1].isalnum()
        gone = []
        for name in os.listdir(self.fd):  # noqa: PTH208  # pathlib lists no descriptor
            rest = name.removeprefix(".").removeprefix(prefix)
            if rest == name.removeprefix(".") or (word and rest[:1].isalnum()):
                continue
            if rest.startswith(but):
                continue
            with suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(name, dir_fd=self.fd)
                gone.append(name)
        return sorted(gone)


@dataclass
class OutputFile(_Descriptor):
    """A file that appears under its bare `name` only when it is complete, and never over another one.

    Leaving its `with` block without `publish` discards it.
    """

    fd: int
    stem: str
    suffix: str
    folder: int = field(repr=False)  # descriptor of the folder, owned
    part: str = ""  # its name until then, hidden
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.stem}{self.suffix}"
        self.part = self.part or f".{self.name}.part"

    def lies_in(self, folder: OutputDir) -> bool:
        """Return whether that is the folder in which it was created, however either is called by now."""
        return os.path.samestat(os.fstat(self.folder), os.fstat(folder.fd))

    def publish(self) -> str:
        """Sync the file, give it its name (the next free one if it is taken), sync the folder; return the name."""
        try:
            os.fsync(self.fd)
            number = 1
            while not self._link():
                number += 1
                self.name = f"{self.stem}-{number}{self.suffix}"
            with suppress(FileNotFoundError):
                os.unlink(self.part, dir_fd=self.folder)
            os.fsync(self.folder)
        except OSError as error:
            self.discard()
            raise write_problem(error, self.name) from error
        self.close()
        return self.name

    def keep_hidden(self, name: str) -> None:
        """Sync the file, give it a name that begins with a dot, over an older file of it, and sync the folder.

        What an attempt leaves to the next one: no reader of the folder takes it for a result.
        """
        try:
            os.fsync(self.fd)
            os.rename(self.part, name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
            os.fsync(self.folder)
        except OSError as error:
            self.discard()
            raise write_problem(error, self.name) from error
        self.close()

    def discard(self) -> None:
        """Remove the temporary file; after `publish` or a second time this does nothing."""
        if self.fd >= 0:
            with suppress(FileNotFoundError):
                os.unlink(self.part, dir_fd=self.folder)
        self.close()

    def close(self) -> None:
        super().close()
        if self.folder >= 0:
            os.close(self.folder)
            self.folder = -1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _link(self) -> bool:
        """Give the open file its name, the descriptor itself and not what its temporary name leads to by now."""
        try:
            os.link(self.url, self.name, dst_dir_fd=self.folder, follow_symlinks=True)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:  # FAT and some network shares have none
                raise
            return _rename_new(self.folder, self.part, self.name)
        return True


def is_full(error: OSError) -> bool:
    """Whether a write failed because there is no room."""
    return error.errno in _NO_ROOM


def write_problem(error: OSError, name: str) -> JobFailed:
    """Turn a failed write into the one sentence that its callback carries."""
    if is_full(error):
        return JobFailed("no_room", name=name)
    return JobFailed("not_written", name=name, reason=os.strerror(error.errno or errno.EIO))


def _regular(descriptor: int, name: str) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableMedia("input_irregular", name=name)
    return status


def _rename_new(folder: int, old: str, new: str) -> bool:
    """Rename inside a folder unless the new name is taken (renameat2, RENAME_NOREPLACE)."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(folder, os.fsencode(old), folder, os.fsencode(new), _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.EEXIST:
        return False
    raise OSError(code, os.strerror(code))
