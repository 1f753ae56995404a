"""Where requests may read and write: inside the media roots, links followed, nowhere else.

A path is checked twice: when a request is accepted, and again on the opened descriptor when its job runs. Whatever
reads or writes media gets the descriptor (`/proc/self/fd/N`), so a link swapped in between leads nowhere.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

from shared.errors import Rejected, UnreadableMedia
from shared.files.handles import InputFile, OutputDir, _regular, is_full, write_problem
from shared.settings import Settings

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


class MediaRoots:
    """The folders that request paths must lie in, and how a caller's paths are translated."""

    def __init__(self, settings: Settings) -> None:
        self._roots = tuple(root.resolve() for root in settings.media_roots)
        # The longest prefix first: the mapping of a subfolder has priority over that of its parent.
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
        """Return the resolved path of a writable folder inside a root, created if it was missing, or raise Rejected."""
        path = self._resolve(field, value)
        try:
            with OutputDir(self._open_folder(path, create=True), path) as folder:
                folder.check_writable()
        except OSError as error:
            if is_full(error):
                raise Rejected("folder_full", field=field, name=path.name) from error
            reason = os.strerror(error.errno or errno.EIO)
            raise Rejected("folder_unwritable", field=field, name=path.name, reason=reason) from error
        return path

    @property
    def roots(self) -> tuple[Path, ...]:
        """The roots, links followed."""
        return self._roots

    def folder(self, field: str, value: str) -> "OutputDir":
        """Open an existing folder inside a root, checked on the descriptor; raise Rejected."""
        path = self._resolve(field, value)
        try:
            return OutputDir(self._open_folder(path, create=False), path)
        except OSError as error:
            raise Rejected("folder_missing", field=field, name=path.name) from error

    def maps(self, value: str) -> bool:
        """Whether a backend's path or URL is translated into one of ours."""
        return self._mapped(value) is not None

    def leads_inside(self, descriptor: int) -> bool:
        """Whether what a descriptor is open on lies inside a root."""
        return self._inside(Path(f"/proc/self/fd/{descriptor}").readlink())

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
        if (ours := self._mapped(value)) is not None:
            return ours
        if _WINDOWS.match(value):
            raise Rejected("path_unmapped", field=field)
        if _SCHEME.match(value):
            raise Rejected("path_scheme", field=field)
        if not value.startswith("/"):
            raise Rejected("path_relative", field=field)
        return value

    def _mapped(self, value: str) -> str | None:
        for prefix, ours in self._map:
            rest = _below(prefix, value)
            if rest is not None:
                return ours.rstrip("/") + "/" + rest
        return None

    def _inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)

    def _check_descriptor(self, descriptor: int, path: Path) -> None:
        if not self.leads_inside(descriptor):
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
    """Return the part of `value` below a mapped prefix, or None. A Windows prefix matches as Windows compares."""
    if _WINDOWS.match(prefix):
        prefix, value = prefix.replace("\\", "/"), value.replace("\\", "/")
        same = value.lower().startswith(prefix.rstrip("/").lower())
    else:
        same = value.startswith(prefix.rstrip("/"))
    rest = value[len(prefix.rstrip("/")) :]
    return rest.lstrip("/") if same and rest[:1] in {"", "/"} else None
