"""Media roots and the state directory: whether they exist, can be read and written, and have links, locks and space."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from shared.doctor.finding import Finding, Level
from shared.process.file_lock import FileLock
from shared.settings import Settings

LEAST_FREE_BYTES = 2 << 30


def roots(settings: Settings) -> Iterator[Finding]:
    """Check the folders that requests may name."""
    if not settings.media_roots:
        yield Finding("media roots", "broken", "KINORA_MEDIA_ROOTS is empty: every request would be rejected")
    for root in settings.media_roots:
        if not root.exists() and "media_roots" not in settings.model_fields_set:
            yield Finding("media roots", "ok", f"{root} is created by `kinora serve`; KINORA_MEDIA_ROOTS names others")
        elif not root.is_dir():
            yield Finding("media roots", "broken", f"{root} does not exist: create it or change KINORA_MEDIA_ROOTS")
        elif not os.access(root, os.R_OK | os.X_OK):
            yield Finding("media roots", "broken", f"{root} cannot be read: give this user permission")
        elif reason := why_not_writable(root):
            yield Finding("media roots", "warning", f"{root} is read-only ({reason}): no dist_dir may be in it")
        else:
            yield from free_space("media roots", root)
            yield from _publishing(root)
        if settings.state_dir == root or settings.state_dir.is_relative_to(root):
            text = f"{settings.state_dir} lies in {root}: callers could read the database's files; move one of them"
            yield Finding("media roots", "warning", text)


def state(settings: Settings) -> Iterator[Finding]:
    """Check the folder of database, scratch files and locks."""
    folder = settings.state_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield Finding("state", "broken", f"{folder} cannot be created ({error.strerror}): change KINORA_STATE_DIR")
        return
    if reason := why_not_writable(folder):
        yield Finding("state", "broken", f"{folder} cannot be written ({reason}): change KINORA_STATE_DIR")
    elif reason := _why_not_lockable(folder):
        yield Finding("state", "broken", f"{folder} supports no locks ({reason}): put KINORA_STATE_DIR on a local disk")
    else:
        yield from free_space("state", folder)


def free_space(subject: str, folder: Path) -> Iterator[Finding]:
    """Report whether a folder's file system has enough free space."""
    free = shutil.disk_usage(folder).free
    text = f"{folder}: {free / 2**30:.1f} GiB free"
    level: Level = "ok" if free >= LEAST_FREE_BYTES else "warning"
    yield Finding(
        subject, level, text if level == "ok" else f"{text}; free some space, below 256 MiB tasks are refused"
    )


def why_not_writable(folder: Path) -> str:
    """Return why no file can be created in a folder, "" when one can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _publishing(root: Path) -> Iterator[Finding]:
    """Try what publishing a result does: give an open file its name by a hard link, never over another one."""
    with tempfile.NamedTemporaryFile(dir=root, prefix=".kinora-doctor-") as part:
        target = Path(f"{part.name}.link")
        try:
            os.link(part.name, target)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                raise
            text = (
                f"{root} has no hard links ({error.strerror}): results are renamed there instead, which is equally safe"
            )
            yield Finding("media roots", "ok", text)
        finally:
            with suppress(FileNotFoundError):
                target.unlink()


def _why_not_lockable(folder: Path) -> str:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".kinora-doctor-") as file:
        lock = FileLock(Path(file.name))
        try:
            lock.try_acquire()
        except OSError as error:
            return error.strerror or str(error)
        lock.release()
    return ""
