"""Which processes are the server of a data directory: found in `/proc`, because a pid in a file proves nothing."""

import os
from contextlib import suppress

import psutil

from shared.database.data_directory import DataDirectory

PID_FILE = "postmaster.pid"
START_LINE, STATUS_LINE = 2, 7  # of a pid file; the last one comes when the server is about to take connections
CLOCK_SECONDS = 5.0


def recorded_lines(directory: DataDirectory) -> list[str]:
    """Return the lines of the server's own file, none when it is missing."""
    return directory.read(PID_FILE).splitlines()


def recorded_pid(directory: DataDirectory) -> int | None:
    """Return the pid in the server's own file, None when there is none to be read."""
    try:
        return int(recorded_lines(directory)[0])
    except (OSError, ValueError, IndexError):
        return None


def postmaster(directory: DataDirectory) -> psutil.Process | None:
    """Return the live server of this data directory.

    None for a zombie, and for another program to which the system gave the pid after the server had ended.
    """
    pid = recorded_pid(directory)
    if pid is None or pid < 0:  # PostgreSQL marks the pid of a standalone backend by a minus
        return None
    with suppress(psutil.Error, OSError):  # it ended while it was looked at, or belongs to somebody else
        process = psutil.Process(pid)
        title = process.cmdline()[:1]
        ours = bool(title) and not title[0].startswith("postgres:") and _is_ours(process, directory)
        return process if ours and is_alive(process) else None
    return None


def workers(directory: DataDirectory) -> list[psutil.Process]:
    """Return the live processes that work in the data directory, as every PostgreSQL process does."""
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):  # as above
            process = psutil.Process(pid)
            if process.name() == "postgres" and _works_in(pid, directory) and is_alive(process):
                found.append(process)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether this very process still runs; a zombie does not, nor does a later process with the same pid."""
    try:
        return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD} and process.is_running()
    except (psutil.Error, OSError):
        return False


def _is_ours(process: psutil.Process, directory: DataDirectory) -> bool:
    if process.name() != "postgres":  # a shell may stand in the folder too
        return False
    try:
        return _works_in(process.pid, directory)
    except PermissionError:
        # Root of a container without SYS_PTRACE may not look: then the owner and the time of its start must agree.
        started = float(recorded_lines(directory)[START_LINE])
        same_owner = process.uids().effective == directory.owner()
        return same_owner and abs(process.create_time() - started) < CLOCK_SECONDS


def _works_in(pid: int, directory: DataDirectory) -> bool:
    """Whether this is a process's folder, by its inode: a folder that was moved or removed is still the same."""
    return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), os.fstat(directory.fd))  # noqa: PTH116  # a link of the kernel's
