"""What KEDA does with a ScaledObject, done with processes: its query and bounds, runners that really start and end."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.support.tiny_service import PATIENCE_SECONDS, ROOT, RUNNER


@dataclass
class RunnerPool:
    """The runners of one version and kind, as many as its query asks for, each with a state folder of its own."""

    home: Path
    spec: Mapping[str, Any]  # of the ScaledObject
    kind: str
    database_url: str
    settings: Mapping[str, object]
    cooldown_seconds: float = 1.0
    alive: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # exit statuses
    _idle_since: float = math.inf
    _told: set[str] = field(default_factory=set)  # to end, once each, as a pod is

    def wanted(self) -> int:
        """Ask the query, on the real database, how many tasks wait or run."""
        [trigger] = self.spec["triggers"]
        with psycopg.connect(self.database_url) as connection:
            [(count,)] = connection.execute(trigger["metadata"]["query"]).fetchall()
        return int(count)

    def step(self) -> None:
        """Poll once: start what is missing, and end all once nothing was wanted for the cooldown."""
        for name, runner in list(self.alive.items()):
            if runner.poll() is not None:
                self.ended[name] = self.alive.pop(name).returncode
        target = float(self.spec["triggers"][0]["metadata"]["targetQueryValue"])
        pods = min(self.spec["maxReplicaCount"], math.ceil(self.wanted() / target))
        if pods:
            self._idle_since = math.inf
        elif self._idle_since == math.inf:
            self._idle_since = time.monotonic()
        for _ in range(pods - len(self.alive)):
            self._start()
        if time.monotonic() - self._idle_since > self.cooldown_seconds:
            for name in self.alive.keys() - self._told:
                self.alive[name].send_signal(signal.SIGTERM)
                self._told.add(name)

    def kill(self) -> None:
        """End every runner without a word, as the loss of its node does."""
        for name, runner in list(self.alive.items()):
            runner.kill()
            self.ended[name] = self.alive.pop(name).wait()

    def _start(self) -> None:
        name = f"{self.settings['version']}-{self.kind}-{len(self.alive) + len(self.ended) + 1}"
        state = self.home / name / "state"
        state.mkdir(parents=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KINORA_")} | {
            "KINORA_DATABASE_URL": self.database_url,
            "KINORA_STATE_DIR": str(state),
            "KINORA_DEVICE": "cuda",  # the tiny pipeline needs no cores: its priority stays
            **{f"KINORA_{key.upper()}": str(value) for key, value in self.settings.items()},
        }
        command = [sys.executable, "-m", RUNNER, "--kind", self.kind]
        with (self.home / name / "log").open("ab") as log:
            self.alive[name] = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


def scale_until(pools: Sequence[RunnerPool], done: Callable[[], object], what: str) -> None:
    """Let the scaler work until something has happened."""
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"not in time: {what}\n{_logs(pools)}"
        for pool in pools:
            pool.step()
        time.sleep(0.2)


def _logs(pools: Sequence[RunnerPool]) -> str:
    paths = [path for pool in pools for path in pool.home.glob("*/log")]
    return "\n".join(f"--- {path.parent.name}\n{path.read_text(errors='replace')[-2000:]}" for path in paths)
