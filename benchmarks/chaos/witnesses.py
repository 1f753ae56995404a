"""What records a run from outside: a trigger in the database, a watch on the runners' open files, a final decoder."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import av
import psutil
import psycopg

from benchmarks.chaos.history import FinalFile, Transition, Writers
from benchmarks.chaos.load import Task
from benchmarks.chaos.victims import postmaster
from shared.testing import processes
from shared.testing.stack import Stack

SAMPLE_SECONDS = 0.05
TRIGGER = """
CREATE TABLE chaos_transitions (
    n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    id uuid NOT NULL, slot text NOT NULL, task_id bigint NOT NULL, attempt integer NOT NULL, state text NOT NULL);
CREATE FUNCTION chaos_record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' OR OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt THEN
        INSERT INTO chaos_transitions (id, slot, task_id, attempt, state)
        VALUES (NEW.id, NEW.service || ' ' || NEW.kind, NEW.task_id, NEW.attempt, NEW.state);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_record AFTER INSERT OR UPDATE ON kinora_tasks FOR EACH ROW EXECUTE FUNCTION chaos_record();
"""


def connect(stack: Stack) -> psycopg.Connection[tuple[object, ...]]:
    """Connect to the embedded PostgreSQL without becoming one of its users, which keep it running."""
    if postmaster(stack.state_dir) is None:
        raise RuntimeError(f"no PostgreSQL lives in {stack.state_dir}")
    return psycopg.connect(
        host=str(stack.state_dir / "postgres"), user="postgres", dbname="postgres", autocommit=True, connect_timeout=5
    )


def record_transitions(stack: Stack) -> None:
    """Let the database itself record every change of a task's state, in the transaction that makes it."""
    with connect(stack) as connection:
        connection.execute(TRIGGER)


def transitions(stack: Stack) -> list[Transition]:
    """Return what the trigger recorded, oldest first."""
    columns = "extract(epoch FROM at)::float8, id::text, slot, task_id, attempt, state"
    with connect(stack) as connection:
        rows = connection.execute(f"SELECT {columns} FROM chaos_transitions ORDER BY n")
        return [Transition(*row) for row in rows]  # type: ignore[arg-type]  # six typed columns


class Onlooker(threading.Thread):
    """Samples which processes hold unpublished results open, and which files the result folders contain."""

    def __init__(self, stack: Stack, out: Path) -> None:
        super().__init__(name="onlooker", daemon=True)
        self.writers: list[Writers] = []
        self.first_sizes: dict[str, int] = {}
        self._stack, self._out = stack, out
        self._leaving = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._leaving.wait(SAMPLE_SECONDS):
            for path in visible(self._out):
                if path.name not in self.first_sizes:
                    self.first_sizes[path.name] = path.stat().st_size
            holders = dict(self._holders())
            if holders:
                self.writers.append(Writers(time.time(), holders))

    def leave(self) -> None:
        """Stop sampling."""
        self._leaving.set()
        self.join()

    def _holders(self) -> Iterable[tuple[str, str]]:
        runners = [process for process in self._stack.processes() if ".runner" in processes.command(process)]
        pids = {process.pid for process in runners}
        for process in runners:
            # Between fork and exec a runner that restarts PostgreSQL appears twice, with the same descriptors.
            with suppress(psutil.Error):
                if process.ppid() not in pids:
                    for file in process.open_files():
                        if file.path.startswith(str(self._out)) and Path(file.path).name.startswith("."):
                            yield str(process.pid), Path(file.path).name


def visible(out: Path) -> list[Path]:
    """Return what a reader of the result folders sees."""
    return [path for path in out.glob("*/*") if not path.name.startswith(".") and path.is_file()]


def final_files(
    out: Path, tasks: dict[int, Task], announced: dict[str, int], first_sizes: dict[str, int]
) -> list[FinalFile]:
    """Decode every file in the result folders; `announced` maps the name of a result to its task."""
    found = []
    for path in sorted(path for path in out.glob("*/*") if path.is_file()):
        task = tasks.get(announced.get(path.name, -1))
        grew = first_sizes.get(path.name, path.stat().st_size) != path.stat().st_size
        found.append(FinalFile(path.name, whole=task is not None and decodes(path, task), grew=grew))
    return found


def decodes(path: Path, task: Task) -> bool:
    """Whether every frame that the task promises is there, in its size."""
    try:
        with av.open(path) as container:
            sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    except av.FFmpegError:
        return False
    return sizes == [(task.width, task.height)] * task.frames
