"""Where requests may read and write: inside the media roots, links followed, nowhere else.

A path is checked twice: when a request is accepted, and again on the opened descriptor when its job runs. Whatever
reads or writes media gets the descriptor (`/proc/self/fd/N`), so a link swapped in between leads nowhere.
"""

import ctypes
import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote_to_bytes

from shared.errors import JobFailed, Rejected, UnreadableMedia
from shared.settings import Settings

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_TRIAL = "kinora-trial"  # always the same name: the next trial removes what a kill left
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_UNNAMED_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
_RENAME_NOREPLACE = 1


class MediaRoots:
    """The folders that request paths must lie in, and how a caller's spelling leads there."""

    def __init__(self, settings: Settings) -> None:
        self._roots = tuple(root.resolve() for root in settings.media_roots)
        # The longest prefix first: a mapping of a subfolder wins over the one of its parent.
        self._map = sorted(settings.path_map, key=lambda pair: len(pair[0]), reverse=True)

    def input(self, field: str, value: str) -> Path:
        """Return the resolved path of an existing regular file inside a root, or raise Rejected."""
        path = self._resolve(field, value)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise Rejected("file_missing", field=field, name=path.name) from error
        if not stat.S_ISREG(mode):
            raise Rejected("file_irregular", field=field, name=path.name)
        if not os.access(path, os.R_OK):
            raise Rejected("file_forbidden", field=field, name=path.name)
        return path

    def dist_dir(self, field: str, value: str) -> Path:
        """Return the resolved path of a writable folder inside a root, made if it was missing, or raise Rejected."""
        path = self._resolve(field, value)
        try:
            with OutputDir(self._open_folder(path, create=True), path) as folder:
                folder.check_writable()
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise Rejected("folder_full", field=field, name=path.name) from error
            reason = os.strerror(error.errno or errno.EIO)
            raise Rejected("folder_unwritable", field=field, name=path.name, reason=reason) from error
        return path

    def open_input(self, path: Path) -> "InputFile":
        """Open what `input` returned, checked on the descriptor; raise UnreadableMedia or Rejected."""
        try:
            # O_NONBLOCK: opening a FIFO that took the file's place must not wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            reason = os.strerror(error.errno or errno.EIO)
            raise UnreadableMedia("input_unreadable", name=path.name, reason=reason) from error
        try:
            self._check_descriptor(descriptor, path)
            status = _regular(descriptor, path.name)
        except BaseException:
            os.close(descriptor)
            raise
        return InputFile(descriptor, path.name, status.st_size, status.st_mtime_ns)

    def open_dist_dir(self, path: Path) -> "OutputDir":
        """Open what `dist_dir` returned, made again if it has gone; raise JobFailed or Rejected."""
        try:
            return OutputDir(self._open_folder(path, create=True), path)
        except OSError as error:
            raise write_problem(error, path.name) from error

    def _resolve(self, field: str, value: str) -> Path:
        """Follow every link; refuse what lies outside with one message, whether or not it exists."""
        try:
            path = Path(self._local(field, value)).resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise Rejected("path_outside", field=field) from error
        if not self._inside(path):
            raise Rejected("path_outside", field=field)
        return path

    def _local(self, field: str, value: str) -> str:
        """Translate a file URL and a backend's prefix into an absolute path of this machine."""
        if value[:5].lower() == "file:":
            value = _from_file_url(field, value)
        for prefix, ours in self._map:
            rest = _below(prefix, value)
            if rest is not None:
                return ours.rstrip("/") + "/" + rest
        if _WINDOWS.match(value):
            raise Rejected("path_unmapped", field=field)
        if _SCHEME.match(value):
            raise Rejected("path_scheme", field=field)
        if not value.startswith("/"):
            raise Rejected("path_relative", field=field)
        return value

    def _inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)

    def _check_descriptor(self, descriptor: int, path: Path) -> None:
        if not self._inside(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise Rejected("path_outside", field=path.name)

    def _open_folder(self, path: Path, *, create: bool) -> int:
        """Open a folder and check where the descriptor leads; missing levels are made below checked parents only."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            if not create or not self._inside(path.parent):
                raise
            parent = self._open_folder(path.parent, create=True)
            try:
                with suppress(FileExistsError):
                    os.mkdir(path.name, dir_fd=parent)
                descriptor = os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=parent)
            finally:
                os.close(parent)
        try:
            self._check_descriptor(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


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


@dataclass
class OutputDir(_Descriptor):
    """An opened `dist_dir`; everything in it happens through its descriptor."""

    fd: int
    path: Path  # for messages and the disk check, never for opening

    def check_writable(self) -> None:
        """Raise the OSError of a folder that takes no new file. A kill meanwhile leaves nothing that stays."""
        try:
            os.close(os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=self.fd))
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:  # some network shares
                raise
            with suppress(FileNotFoundError):
                os.unlink(f".{_TRIAL}.part", dir_fd=self.fd)
            with suppress(FileExistsError):  # somebody else tries it just now, and can
                self.create(_TRIAL, "").discard()

    def create(self, stem: str, suffix: str) -> "OutputFile":
        """Create the hidden temporary file `.{stem}{suffix}.part`; raise OSError when the folder refuses."""
        name = f"{stem}{suffix}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f".{name}.part", flags, 0o644, dir_fd=self.fd)
        # A descriptor of its own: the file outlives the `with` block of its folder.
        return OutputFile(descriptor, stem, suffix, folder=os.dup(self.fd))

    def sweep(self, prefix: str) -> list[str]:
        """Remove what an attempt left behind, published or not, and return the names.

        `7_upscale_0badcafe-1` means the first attempt only, not the tenth; `7_upscale_0badcafe-` means all of them.
        """
        word = prefix[-1].isalnum()
        gone = []
        for name in os.listdir(self.fd):  # noqa: PTH208  # pathlib lists no descriptor
            rest = name.removeprefix(".").removeprefix(prefix)
            if rest == name.removeprefix(".") or (word and rest[:1].isalnum()):
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
    _part: str = field(init=False, repr=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.stem}{self.suffix}"
        self._part = f".{self.name}.part"

    def publish(self) -> str:
        """Sync the file, give it its name (the next free one if it is taken), sync the folder; return the name."""
        try:
            os.fsync(self.fd)
            number = 1
            while not self._link():
                number += 1
                self.name = f"{self.stem}-{number}{self.suffix}"
            with suppress(FileNotFoundError):
                os.unlink(self._part, dir_fd=self.folder)
            os.fsync(self.folder)
        except OSError as error:
            self.discard()
            raise write_problem(error, self.name) from error
        self.close()
        return self.name

    def discard(self) -> None:
        """Remove the temporary file; after `publish` or a second time this does nothing."""
        if self.fd >= 0:
            with suppress(FileNotFoundError):
                os.unlink(self._part, dir_fd=self.folder)
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
            return _rename_new(self.folder, self._part, self.name)
        return True


def write_problem(error: OSError, name: str) -> JobFailed:
    """Turn a failed write into the one sentence that its callback carries."""
    if error.errno in _NO_ROOM:
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


def _from_file_url(field: str, value: str) -> str:
    """Percent-decode `file:///…` and `file://localhost/…`; any other host is not local."""
    rest = value[5:]
    if rest.startswith("//"):
        host, _, tail = rest[2:].partition("/")
        if host.lower() not in {"", "localhost"}:
            raise Rejected("path_scheme", field=field)
        rest = f"/{tail}"
    try:
        path = unquote_to_bytes(rest).decode()
    except UnicodeDecodeError as error:
        raise Rejected("path_encoding", field=field) from error
    if "\0" in path:
        raise Rejected("text_unstorable", field=field)
    return path[1:] if _WINDOWS.match(path[1:]) else path  # file:///D:/media


def _below(prefix: str, value: str) -> str | None:
    """Return what of `value` lies below a mapped prefix, or None. A Windows prefix matches as Windows compares."""
    if _WINDOWS.match(prefix):
        prefix, value = prefix.replace("\\", "/"), value.replace("\\", "/")
        same = value.lower().startswith(prefix.rstrip("/").lower())
    else:
        same = value.startswith(prefix.rstrip("/"))
    rest = value[len(prefix.rstrip("/")) :]
    return rest.lstrip("/") if same and rest[:1] in {"", "/"} else None
