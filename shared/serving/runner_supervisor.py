"""Starts a runner, watches it, starts it again when it dies, and stops it in order."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from shared.process.malloc import KEEP_FREED_MEMORY
from shared.process.oom import oom_kills
from shared.settings import Settings

LIVED_WELL_SECONDS = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds before a runner that dies early is started again
STOP_MARGIN_SECONDS = 15.0
# No fault of a program ends it so: a user did, an orchestrator, we ourselves, or the kernel that had no more memory.
KILLS = frozenset(-number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT))

logger = logging.getLogger(__name__)


class Supervisor:
    """One runner as a child process, in a session of its own.

    Its standard input is a pipe that only this process holds: when we die, however, the runner notices at once.

    A thread of its own starts the runner and waits for its end; it alone writes `_up`, `_restarts`, `_killed` and
    `_child`. Other threads only read them and may act on the value before a change: a signal to a child that has ended
    does nothing.
    """

    def __init__(self, module: str, kind: str, settings: Settings) -> None:
        self._command = [sys.executable, "-m", module, "--kind", kind, "--exit-on-stdin-eof"]
        self._name = f"{module} {kind}"
        self._patience = settings.limits.drain_seconds + STOP_MARGIN_SECONDS
        self._stopping = threading.Event()
        self._up = False
        self._restarts = 0
        self._killed = False  # the last one
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name=f"supervisor-{kind}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the runner's process is up: started, its modules imported, not ended."""
        return self._up and self._child is not None and self._child.poll() is None

    @property
    def restarts(self) -> int:
        """How often the runner was started again since this process began."""
        return self._restarts

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the runner to finish or requeue its task and wait for its end; kill it when it takes too long."""
        self._stopping.set()
        deadline = time.monotonic() + self._patience
        while self._thread.is_alive():
            self._send(signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            self._thread.join(timeout=1)

    def replace(self) -> None:
        """Kill a runner that does not react any more; its successor recovers what it left."""
        self._send(signal.SIGKILL)

    def detach(self) -> None:
        """Let the runner drain on its own: the pipe ends with this process."""
        self._stopping.set()

    def _send(self, number: signal.Signals) -> None:
        if self._child:
            with suppress(ProcessLookupError):
                self._child.send_signal(number)

    def _watch(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started, earlier = time.monotonic(), oom_kills()
            try:
                status: object = self._run_once()
            except OSError as error:  # no memory, no descriptors: later there may be
                status = error
            if self._stopping.is_set():
                return
            self._killed = status in KILLS
            reason = _killer(status, earlier) if self._killed else status
            logger.warning("runner %s ended (%s): starting it again", self._name, reason)
            self._restarts += 1
            pause = FIRST_PAUSE if time.monotonic() - started > LIVED_WELL_SECONDS else min(pause * 2, LONGEST_PAUSE)
            self._stopping.wait(pause)

    def _run_once(self) -> int:
        """Start the runner and wait for its end; return its exit status."""
        ready, told = os.pipe()
        try:
            with subprocess.Popen(
                [*self._command, "--ready-fd", str(told), *(["--predecessor-killed"] if self._killed else [])],
                stdin=subprocess.PIPE,
                pass_fds=(told,),
                start_new_session=True,
                env={**os.environ, **KEEP_FREED_MEMORY},
            ) as child:
                self._child = child
                os.close(told)
                told = -1
                self._up = os.read(ready, 1) != b""
                return child.wait()
        finally:
            self._up = False
            os.close(ready)
            if told >= 0:
                os.close(told)


def _killer(status: object, earlier: int | None) -> str:
    """Say who ended a runner by a signal; `earlier` is how often the kernel had done so for want of memory."""
    now = oom_kills()
    if status != -signal.SIGKILL or (now is not None and now == earlier):
        return "killed from outside"
    if now is None or earlier is None:
        return "killed from outside, or by the kernel for want of memory"
    return "killed by the kernel: its memory limit, or the machine's memory, was reached"
