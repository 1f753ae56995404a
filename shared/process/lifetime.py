"""When a process ends together with others or because it hangs, and at what priority it runs."""

import asyncio
import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
STDIN = 0
EXIT_ORPHANED = 71
EXIT_STATE_LOST = 72
LOWEST = 19
LOW = 10


@contextmanager
def deaf_to_stops() -> Iterator[None]:
    """Let the processes started in this block receive no SIGTERM and no SIGINT, from their first instruction on.

    BentoML's master sends SIGTERM to the children of a service's process, too, and Ctrl-C reaches all processes of a
    terminal: a child that its parent still needs for the requests that it accepted would end before it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # children inherit the mask
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with_parent(expected: int | None = None, *, by: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process `by` when its parent ends; call in the main thread of a service's process.

    `expected` is the parent's pid, where it is known: only by it can a parent be noticed that ended while this process
    was still importing. No signal would come then, and this process would hold its port for ever, so it ends at once.
    The kernel sends the signal when the parent's THREAD that started this process ends: a process that was started by
    a short-lived thread must not use this.
    """
    parent = expected or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(EXIT_ORPHANED)


def on_stdin_eof(then: Callable[[], object]) -> None:
    """Call `then`, in a thread of its own, when standard input ends: when the process at its other end has ended."""

    def wait() -> None:
        with suppress(OSError):
            # The descriptor and not sys.stdin: this thread would hold its lock for ever, and Python's exit would fail.
            while os.read(STDIN, 1):
                pass
        then()

    threading.Thread(target=wait, name="stdin-eof", daemon=True).start()


async def event_loop_watchdog(seconds: float) -> None:
    """End this process when its event loop has not run for so many seconds; run this as a task of the loop.

    Native code that never releases the interpreter's lock stops the loop, and with it heartbeats, cancels and time
    limits. The timer behind this is a thread that does not need the lock; before it ends the process, it writes the
    traceback of every thread to standard error.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(seconds, exit=True)
            await asyncio.sleep(seconds / 10)
    finally:
        faulthandler.cancel_dump_traceback_later()


def ordinary_scheduling() -> None:
    """Take real-time scheduling from every thread of this process.

    SVT-AV1, where it runs as root, gives it to its own threads and to the one that opens it, at the highest priority:
    whatever that thread starts has it as well, and all other programs of the machine wait.
    """
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            if os.sched_getscheduler(int(thread.name)) in {os.SCHED_FIFO, os.SCHED_RR}:
                os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


def lower_priority(niceness: int) -> None:
    """Let other sessions have the cores first; call in the process that leads a session of its own.

    `niceness` is as for nice(1): 0 is normal, 19 the lowest priority. Linux shares out the cores between sessions
    before it compares nice values, so the session gets the value; the process gets it too, for systems without this
    grouping.
    """
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
    with suppress(OSError):
        os.nice(niceness)
