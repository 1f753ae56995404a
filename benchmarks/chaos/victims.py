"""Kills processes, and plays the operator's service manager: it starts `kinora serve` again when that has ended."""

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.chaos.history import Kill
from shared.testing import processes
from shared.testing.stack import Stack

TWENTY_KILLS = ("runner",) * 8 + ("postgres",) * 4 + ("service",) * 4 + ("router",) * 2 + ("master",) * 2
PAUSE_SECONDS = (0.0, 2.0)
WAITING_SHARE = 0.5
APPEAR_SECONDS = 20.0  # how long to wait for a process that is just being restarted


class Killer:
    """Kills one process of the stack after another; each twenty kills include every kind of process.

    Half of the kills wait until `progress` has grown since the last one, so that tasks are
    interrupted at all their stages; the other half may come at any time, also in the middle of a recovery.
    """

    def __init__(self, stack: Stack, progress: Callable[[], int], *, seed: int) -> None:
        self.kills: list[Kill] = []
        self._stack = stack
        self._progress = progress
        self._random = random.Random(seed)
        self._remaining: list[str] = []

    def strike(self) -> Kill:
        """Wait for a random time, then kill."""
        if self._random.random() < WAITING_SHARE:
            before, deadline = self._progress(), time.monotonic() + APPEAR_SECONDS
            while self._progress() == before and time.monotonic() < deadline:
                time.sleep(0.05)
        time.sleep(self._random.uniform(*PAUSE_SECONDS))
        if not self._remaining:
            self._remaining = self._random.sample(TWENTY_KILLS, len(TWENTY_KILLS))
        kind = self._remaining.pop()
        deadline = time.monotonic() + APPEAR_SECONDS
        while time.monotonic() < deadline:
            victim = find(self._stack, kind)
            if victim and processes.send(victim, signal.SIGKILL):
                kill = Kill(time.time(), kind, victim.pid)
                self.kills.append(kill)
                return kill
            time.sleep(0.05)
        raise TimeoutError(f"no {kind} to kill within {APPEAR_SECONDS:g} s\n{self._stack.log_tail()}")


def find(stack: Stack, kind: str) -> psutil.Process | None:
    """Return the process that has this role now, None while there is none."""
    if kind == "master":
        return processes.live(stack.process.pid) if stack.process else None
    if kind == "postgres":
        return postmaster(stack.state_dir)
    marks = {
        "runner": ("services.upscale.runner",),
        "service": ("_bentoml_impl.worker", "--service-name upscale"),
        "router": ("_bentoml_impl.worker", "--service-name router"),
    }
    return next((p for p in stack.processes() if all(mark in processes.command(p) for mark in marks[kind])), None)


def postmaster(state_dir: Path) -> psutil.Process | None:
    """Return the embedded PostgreSQL's first process by its own pid file."""
    try:
        pid = int((state_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
    process = processes.live(pid)
    return process if process and "postgres" in processes.command(process) else None


class ServiceManager(threading.Thread):
    """Restarts `kinora serve` when its first process is gone, as systemd with `Restart=always` would."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(name="service-manager", daemon=True)
        self.restarts = 0
        self._stack = stack
        self._leaving = threading.Event()

    def run(self) -> None:
        """Check it periodically."""
        while not self._leaving.wait(0.2):
            if self._stack.process is not None and self._stack.process.poll() is not None:
                self.restarts += 1
                self._stack.start()

    def leave(self) -> None:
        """Stop restarting it."""
        self._leaving.set()
        if self.is_alive():
            self.join()
