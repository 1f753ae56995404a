"""What lies in the media roots, as a person looks for it: pages of a folder, and a search downwards.

Every name is looked at through the descriptor of its folder. Hidden names are left out, and so are links that lead out
of the roots, what is neither a file nor a folder, and names that are no text.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Literal

from shared.errors import Rejected
from shared.files.handles import OutputDir
from shared.files.media_roots import MediaRoots

EntryKind = Literal["folder", "video", "picture", "other"]

SEARCHED_NAMES = 20_000
SEARCHED_SECONDS = 2.0
_ENDINGS: dict[EntryKind, str] = {
    "video": ".mp4 .m4v .mov .mkv .webm .avi .ts .m2ts .mts .mpg .mpeg .flv .wmv .asf .ogv .3gp .mxf .nut .ivf",
    "picture": ".jpg .jpeg .png .webp .avif .bmp .tif .tiff .jp2 .gif .apng",  # as a browser shows them
}
_KINDS = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()}


@dataclass(frozen=True)
class Entry:
    """A file or a folder; `kind` goes by the ending of its name."""

    name: str
    path: str
    kind: EntryKind
    size: int  # bytes; 0 for a folder
    modified: datetime


@dataclass(frozen=True)
class Page:
    """A part of what was asked for; `next` is the place behind it, None at the end."""

    folder: Path
    entries: list[Entry]
    next: str | None = None
    truncated: bool = False


def kind_of(name: str) -> EntryKind:
    """Return what a file is by the ending of its name."""
    return _KINDS.get(PurePath(name).suffix.lower(), "other")


def list_folder(roots: MediaRoots, folder: str, *, after: str | None, limit: int) -> Page:
    """Return a page of a folder, folders first, then by name; raise Rejected for what is no folder of a root."""
    with roots.folder("folder", folder) as opened:
        entries: list[Entry] = []
        last = None
        for place, name in sorted((_place(name, is_folder), name) for name, is_folder in _names(opened)):
            if after is not None and place <= after:
                continue
            if len(entries) == limit:
                return Page(opened.path, entries, last)
            if entry := look(roots, opened, name):
                entries.append(entry)
                last = place
        return Page(opened.path, entries)


def search(roots: MediaRoots, folders: list[Path], words: str, limit: int) -> Page:
    """Return what has `words` in its name, in any case, in these folders and below; links are not followed."""
    found: list[Entry] = []
    looked, deadline = 0, time.monotonic() + SEARCHED_SECONDS
    waiting = list(reversed(folders))
    wanted = words.casefold()
    while waiting:
        folder = waiting.pop()
        with suppress(Rejected, OSError), roots.folder("folder", str(folder)) as opened:
            for name, is_folder in sorted(_names(opened), reverse=True):
                looked += 1
                if looked > SEARCHED_NAMES or time.monotonic() > deadline or len(found) == limit:
                    return Page(folders[0], _sorted(found), truncated=True)
                if is_folder and not (opened.path / name).is_symlink():
                    waiting.append(opened.path / name)
                if wanted in name.casefold() and (entry := look(roots, opened, name)):
                    found.append(entry)
    return Page(folders[0], _sorted(found))


def look(roots: MediaRoots, folder: OutputDir, name: str) -> Entry | None:
    """Return one entry of an opened folder; None for what is not shown."""
    try:
        descriptor = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=folder.fd)
    except OSError:  # it has gone, or leads nowhere
        return None
    try:
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        if not (is_folder or stat.S_ISREG(status.st_mode)) or not roots.leads_inside(descriptor):
            return None
    finally:
        os.close(descriptor)
    kind: EntryKind = "folder" if is_folder else kind_of(name)
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return Entry(name, str(folder.path / name), kind, 0 if is_folder else status.st_size, modified)


def _names(folder: OutputDir) -> Iterator[tuple[str, bool]]:
    """Yield the names of a folder that may be shown, and whether each leads to a folder."""
    with os.scandir(folder.fd) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            with suppress(OSError):
                yield entry.name, entry.is_dir()


def _place(name: str, is_folder: bool) -> str:  # noqa: FBT001  # as it is found
    """Return what entries are sorted by, and pages end at."""
    return f"{'a' if is_folder else 'b'}{name.casefold()}/{name}"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.kind != "folder", entry.name.casefold(), entry.path))
