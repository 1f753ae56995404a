"""Finding, stopping and ending processes of this machine, for the tests and the benchmarks."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil


def live(pid: int) -> psutil.Process | None:
    """Return the process with this pid, None when there is none or only its zombie."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def with_environment(name: str, value: str) -> list[psutil.Process]:
    """Return the live processes that were started with this environment variable."""
    return [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get(name) == value]


def command(process: psutil.Process) -> str:
    """Return the arguments joined by spaces, "" for a process that has ended; PostgreSQL rewrites its own."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline()).strip()
    return ""


def send(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal unless the process is gone or a zombie; say whether it was sent."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Stop a process and all its descendants for the length of a block: it hangs, but does not end."""
    root = psutil.Process(pid)
    stopped = [root]
    root.suspend()  # first, so that it starts no more descendants
    try:
        stopped += root.children(recursive=True)
        for process in stopped[1:]:
            send(process, signal.SIGSTOP)
        yield
    finally:
        for process in stopped:
            send(process, signal.SIGCONT)


def end(processes: Iterable[psutil.Process], *, grace_seconds: float) -> None:
    """Ask each process to end, and after the grace kill those that did not."""
    asked = [process for process in processes if send(process, signal.SIGTERM)]
    for process in psutil.wait_procs(asked, timeout=grace_seconds)[1]:
        send(process, signal.SIGKILL)
