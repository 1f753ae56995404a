"""The processes of this machine as /proc shows them: who descends from whom, what they hold, what they weigh."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)  # a process may end while it is looked at


@dataclass(frozen=True)
class Process:
    """One process; `started` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    started: int
    parent: int = field(compare=False)  # changes when the parent is killed
    command: str = field(compare=False)  # the arguments, joined by spaces; PostgreSQL rewrites its own

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return read(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal unless it is gone; say whether it was sent."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def read(pid: int) -> Process | None:
    """Return the process with this pid, None when there is none or only its zombie."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        command = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except GONE:
        return None
    state, parent, started = stat[0], int(stat[1]), int(stat[19])
    return None if state in b"ZX" else Process(pid, started, parent, command)


def everything() -> list[Process]:
    """Return every live process of this machine, by pid."""
    pids = sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())
    return [process for pid in pids if (process := read(pid))]


def descendants(root: int, among: Iterable[Process] | None = None) -> list[Process]:
    """Return the live children of `root`, their children, and so on; `root` itself is not among them."""
    processes = list(everything() if among is None else among)
    found: list[Process] = []
    parents = {root}
    while children := [p for p in processes if p.parent in parents and p not in found]:
        found += children
        parents = {child.pid for child in children}
    return found


def with_environment(name: str, value: str) -> list[Process]:
    """Return the live processes that were started with this environment variable."""
    wanted = f"{name}={value}".encode()
    found = []
    for process in everything():
        try:
            environment = (PROC / str(process.pid) / "environ").read_bytes()
        except GONE:
            continue
        if wanted in environment.split(b"\0"):
            found.append(process)
    return found


def open_files(pid: int) -> list[str]:
    """Return where the descriptors of a process point, as the kernel names it; empty when it is gone."""
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except GONE:
        return []
    found = []
    for descriptor in descriptors:
        try:
            found.append(str(descriptor.readlink()))
        except GONE:
            continue
    return found


def pss_bytes(pid: int) -> int:
    """Return the proportional set size: memory shared by n processes counts 1/n in each; 0 when it is gone."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except GONE:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def end(processes: Iterable[Process], *, grace_seconds: float) -> None:
    """Ask each process to end, and after the grace kill those that did not."""
    waiting = [process for process in processes if process.send(signal.SIGTERM)]
    deadline = time.monotonic() + grace_seconds
    while (waiting := [process for process in waiting if process.alive]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in waiting:
        process.send(signal.SIGKILL)
