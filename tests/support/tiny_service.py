"""A service without HTTP: a `TaskService` in a process of its own, for tests to order about in JSON and to kill."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from psycopg.rows import dict_row

from shared import logs
from shared.errors import Problem
from shared.media.media_info import MediaKind
from shared.process.lifetime import die_with_parent
from shared.serving.task_service import TaskService
from shared.settings import Settings
from shared.testing import processes
from shared.testing.callback_receiver import Receiver
from shared.vocabulary import TaskKind
from tests.support.tiny_runner import TinyRequest

ROOT = Path(__file__).parents[2]
RUNNER = "tests.support.tiny_runner"
PATIENCE_SECONDS = 60.0  # of a test on a machine that is busy with other things


class TinyService:
    """The process, from outside."""

    def __init__(self, home: Path, receiver: Receiver, *, prefix: Sequence[str] = (), **settings: object) -> None:
        self.home = home
        self._command = [*prefix, sys.executable, "-m", "tests.support.tiny_service"]
        self.out = home / "out"
        self.state = home / "state"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KINORA_")}
        self.environment = inherited | {
            "KINORA_STATE_DIR": str(self.state),
            "KINORA_MEDIA_ROOTS": str(home),
            "KINORA_CALLBACK_URL": receiver.url,
            "KINORA_DEVICE": "cuda",  # the tiny pipeline needs no cores: its priority stays
            **{f"KINORA_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        with (self.home / "log").open("a") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                cwd=ROOT,
                text=True,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.ask("ready"):
            assert time.monotonic() < deadline, (self.home / "log").read_text()
            time.sleep(0.05)
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        for process in self.left_over():
            processes.send(process, signal.SIGKILL)

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.communicate()

    def left_over(self) -> list[psutil.Process]:
        """Every live process that belongs to this home."""
        return [
            process
            for process in psutil.process_iter(["environ"])
            if process.pid != os.getpid()
            and any(str(self.state) in value for value in (process.info["environ"] or {}).values())
        ]

    def ask(self, what: str, **details: object) -> Any:
        """Send one line, return what comes back."""
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"what": what} | details) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, (self.home / "log").read_text()[-4000:]
        return json.loads(line)

    def post(
        self, task_id: int, kind: str = "generate", media: dict[str, MediaKind] | None = None, **fields: object
    ) -> str:
        """Post a task; return the sentence it was refused with, empty when it was accepted; `media` names its files."""
        request = {"task_id": task_id, "dist_dir": str(self.out)} | fields
        return str(self.ask("accept", request=request, kind=kind, media=media or {}))

    def post_many(self, task_ids: Sequence[int], *, at_once: int, **fields: object) -> dict[str, int]:
        """Post tasks, so many at a time; return how often each answer came, "" for an accepted one."""
        request = {"dist_dir": str(self.out)} | fields
        counts: dict[str, int] = self.ask("accept_many", request=request, task_ids=list(task_ids), at_once=at_once)
        return counts

    def cancel(self, task_id: int, **which: object) -> str:
        return str(self.ask("cancel", task_id=task_id, which=which))

    def tasks(self, task_id: int | None = None, **query: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("tasks", query={"task_id": task_id} | query)
        return found

    def task(self, task_id: int) -> dict[str, Any]:
        return self.tasks(task_id)[0]

    def wait_until(self, task_id: int, state: str, progress: float = 0) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            task = self.task(task_id)
            if task["state"] == state and task["progress"] >= progress:
                return task
            time.sleep(0.05)
        log = (self.home / "log").read_text()[-4000:]
        raise AssertionError(f"task {task_id} is {task['state']} at {task['progress']}, not {state}\n{log}")

    def runner_pid(self, kind: str = "generate") -> int:
        """Return the pid of the runner that the service keeps for this kind, waiting for one that is being started."""
        assert self.process
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                if f"{RUNNER} --kind {kind}" in processes.command(process):
                    return int(process.pid)
            time.sleep(0.02)
        raise AssertionError(f"no runner for {kind}")

    def postgres_pid(self) -> int:
        return int((self.state / "postgres" / "postmaster.pid").read_text().split()[0])

    def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Run one statement on the embedded server, as an operator might."""
        uri = f"postgresql://postgres@/postgres?host={self.state / 'postgres'}"
        with psycopg.connect(uri, row_factory=dict_row) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def files(self) -> list[str]:
        return sorted(path.name for path in self.out.iterdir()) if self.out.exists() else []


def callbacks(receiver: Receiver, task_id: int) -> list[dict[str, Any]]:
    """Wait for a task's first callback, and a moment for a second one that should not come."""
    receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS)
    time.sleep(0.3)
    return [delivery.payload for delivery in receiver.of(task_id)]


class TinyFace:
    """Inside the process: answers orders by asking the service."""

    def __init__(self, service: TaskService) -> None:
        self._service = service

    async def accept(self, request: dict[str, Any], kind: TaskKind, media: dict[str, MediaKind]) -> str:
        return (await self._service.accept(TinyRequest.model_validate(request), inputs=media, kind=kind)).err_msg

    async def accept_many(self, request: dict[str, Any], task_ids: list[int], at_once: int) -> dict[str, int]:
        room = asyncio.Semaphore(at_once)

        async def post(task_id: int) -> str:
            async with room:
                try:
                    return await self.accept(request | {"task_id": task_id}, "generate", {})
                except Problem as problem:
                    return f"{type(problem).__name__}: {problem}"

        return Counter(await asyncio.gather(*map(post, task_ids)))

    async def cancel(self, task_id: int, which: dict[str, Any]) -> str:
        return (await self._service.cancel(task_id, **which)).err_msg

    async def tasks(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        return [json.loads(view.model_dump_json()) for view in await self._service.tasks(**query)]

    async def artifact(self, key: str, task_id: int | None = None) -> object:
        return await self._service.newest_artifact(key, task_id=task_id)

    async def metrics(self) -> str:
        return await self._service.metrics()

    async def ready(self) -> bool:
        return self._service.ready()


async def serve() -> None:
    """Serve until SIGTERM or the end of standard input."""
    die_with_parent()
    settings = Settings.load()
    logs.configure(settings, adopt_native=False, service="upscale")  # it speaks on standard output
    service = TaskService("upscale", settings, kinds=("generate", "preview"), runner_module=RUNNER)
    await service.start()
    face = TinyFace(service)
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in chain(sys.stdin, [""]):
            loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    loop.add_signal_handler(signal.SIGTERM, lines.put_nowait, "")
    while line := await lines.get():
        order = json.loads(line)
        try:
            reply = await getattr(face, order.pop("what"))(**order)
        except Problem as problem:
            reply = f"{type(problem).__name__}: {problem}"
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    await service.stop()


if __name__ == "__main__":
    asyncio.run(serve())
