"""Runs that take turns: each in a process of its own, one part of the one and then one part of the other.

So every run has its own peak of memory, and both see the same machine. Between its parts a run waits at `Turns`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from threading import Timer
from typing import Any

from benchmarks.clocks import clocks

WAITS = "waits for its turn"


class Turns:
    """The parts of one run and how long each took. Without `taken` there is nobody to wait for."""

    def __init__(self, *, taken: bool) -> None:
        self.parts: list[tuple[float, float]] = []  # wall-clock and CPU seconds
        self._taken = taken
        self._begin = (0.0, 0.0)

    def begin(self) -> None:
        """Wait until it is this run's turn; a part begins."""
        if self._taken:
            print(WAITS, flush=True)
            sys.stdin.readline()
        self._begin = clocks()

    def end(self) -> None:
        """Note how long the part took that is now over."""
        (wall, cpu), (first_wall, first_cpu) = clocks(), self._begin
        self.parts.append((round(wall - first_wall, 2), round(cpu - first_cpu, 2)))


def in_turns(module: str, runs: Sequence[dict[str, Any]], *, device: str, limit: float) -> list[dict[str, Any]]:
    """Return the figures of `python -m module` with each of the options, or `failed` with the reason.

    They are built one after another, then each makes one part at a time. `limit` is in seconds, for all together.
    """
    ends = time.monotonic() + limit
    started = [_Run(module, options, device) for options in runs]
    waiting = list(started)
    timer = Timer(limit, _kill, [started])
    timer.start()
    try:
        while waiting:
            waiting = [run for run in waiting if run.takes_its_turn()]
    finally:
        timer.cancel()
        _kill(started)
    late = f"more than {limit:g} s" if time.monotonic() >= ends else ""
    return [run.result(late) for run in started]


def _kill(runs: "Sequence[_Run]") -> None:
    for run in runs:
        run.kill()


class _Run:
    """One process, which is stopped at `Turns` except when it takes its turn."""

    def __init__(self, module: str, options: dict[str, Any], device: str) -> None:
        self._errors = TemporaryFile("w+")  # noqa: SIM115  # closed with the result
        self._command, self._last = [sys.executable, "-W", "ignore", "-m", module, json.dumps(options)], ""
        self._process: subprocess.Popen[str] | None = None
        self._environment = os.environ | {"KINORA_DEVICE": device}

    def takes_its_turn(self) -> bool:
        """Let it make its next part; return whether there are more."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=self._environment,
            )  # fmt: skip
        elif self._process.stdin is not None and self._process.poll() is None:
            with suppress(BrokenPipeError):  # it has just ended: its output says why
                self._process.stdin.write("\n")
                self._process.stdin.flush()
        for line in self._process.stdout or ():
            self._last = line.strip()
            if self._last == WAITS:
                return True
        self._process.wait()
        return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def result(self, late: str) -> dict[str, Any]:
        """Return what it has printed last, once it has ended."""
        with self._errors:
            code = None
            if self._process is not None:
                self._process.communicate()  # closes its pipes
                code = self._process.returncode
            if code == 0:
                figures: dict[str, Any] = json.loads(self._last)
                return figures
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            return {"failed": late or (said or [f"ended with {code}"])[-1][:200]}
