"""Who dies with whom, and who steps aside for whom."""

import asyncio
import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
STDIN = 0
EXIT_ORPHANED = 71
LOWEST = 19
LOW = 10


def die_with_parent(expected: int | None = None) -> None:
    """Get SIGTERM when the parent ends, however it ends; call in the main thread of a service's process.

    `expected` is the parent's pid where it is known: a parent that ended while this process was still importing can be
    told in no other way. Then nobody would ever end this process, which holds a port, so it ends at once.
    The signal fires when the parent's THREAD ends, so a process that a helper thread started must not use this.
    """
    parent = expected or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(EXIT_ORPHANED)


def on_stdin_eof(then: Callable[[], object]) -> None:
    """Call `then` from a thread of its own when standard input ends, as it does with the process that holds it."""

    def wait() -> None:
        with suppress(OSError):
            # The descriptor and not sys.stdin: its lock would be held for ever, and leaving Python would stumble on it.
            while os.read(STDIN, 1):
                pass
        then()

    threading.Thread(target=wait, name="tether", daemon=True).start()


async def event_loop_watchdog(seconds: float) -> None:
    """End this process when its event loop has not turned for so long; run as a task.

    Native code that never gives the interpreter's lock back would stop the loop, and with it beats, cancels and time
    limits. The watchdog is a thread that needs no such lock; it writes where every thread was to standard error.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(seconds, exit=True)
            await asyncio.sleep(seconds / 10)
    finally:
        faulthandler.cancel_dump_traceback_later()


def lower_priority(niceness: int) -> None:
    """Yield the cores to other sessions; call in a process that leads a session of its own.

    The kernel weighs sessions against each other before it looks at nice values, so the session gets the weight; plain
    nice is for systems that do not group by session.
    """
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")
    with suppress(OSError):
        os.nice(niceness)
