"""What uploads of killed processes left behind: where it lies is remembered in the state folder, until it is swept."""

import fcntl
import logging
import os
import re
import secrets
from pathlib import Path

from shared.errors import Rejected
from shared.files.handles import OutputDir
from shared.files.media_roots import MediaRoots
from shared.files.remembered import Remembered

MOST_LEFT = 200  # files in folders that cannot be reached now, and are looked for again
_TOKEN = re.compile(r"[0-9a-f]{16}")

logger = logging.getLogger("bentoml.kinora.console")


def part_of(token: str) -> str:
    """Return the hidden name of an upload's file until it is complete."""
    return f".kinora-upload-{token}.part"


class UploadLeftovers:
    """The uploads that have begun and not ended; `sweep` may run in a thread of its own."""

    def __init__(self, path: Path, roots: MediaRoots) -> None:
        self._roots = roots
        self._begun = Remembered(path)  # token -> folder
        self._left = dict(self._begun)  # by processes before this one, the oldest first

    def begin(self, folder: Path) -> str:
        """Remember an upload into a folder; return its token, for `part_of` and `end`."""
        token = secrets.token_hex(8)
        self._begun[token] = str(folder)
        return token

    def end(self, token: str) -> None:
        """Forget an upload that has left nothing."""
        del self._begun[token]

    def sweep(self) -> None:
        """Remove what uploads of processes that have gone left behind.

        What cannot be reached now (a disk that is away, or read-only) is looked for again at the next start; the
        oldest beyond `MOST_LEFT` are forgotten, so that what never returns does not pile up.
        """
        unreached = []
        for token, folder in self._left.items():
            try:
                if self._is_swept(token, folder):
                    self.end(token)
            except (Rejected, OSError):
                unreached.append(token)
        for token in unreached[:-MOST_LEFT]:
            self.end(token)

    def _is_swept(self, token: str, folder: str) -> bool:
        """Remove the file of an upload; False while that lives. Raises Rejected or OSError where it cannot be said."""
        if not _TOKEN.fullmatch(token):  # none of ours
            return True
        with self._roots.folder("folder", folder) as opened:
            if removed := _remove_dead(opened, part_of(token)):
                logger.info("removed what an upload that broke off left in %s", opened.path.name)
            return removed


def _remove_dead(folder: OutputDir, part: str) -> bool:
    """Remove a hidden file whose upload has gone; False while somebody holds its lock. Raises OSError."""
    try:
        descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder.fd)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    os.unlink(part, dir_fd=folder.fd)
    return True
