"""Start everything, submit the tasks, wait for their callbacks, and store the results."""

import json
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from shared import weights
from shared.demo import clips, sheet
from shared.demo.tasks import DemoOutcome, DemoTask, Excerpt
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

CALLBACK_SECONDS = 1800.0  # long enough for a slow machine; a hung one must not block a terminal for ever
POLL_SECONDS = 0.25
FIRST_TASK_ID = 101
SUBTITLE = "One real task per capability: posted to the router, computed on this machine, called back.   {credit}"
CREDIT = "Big Buck Bunny © Blender Foundation, CC BY 3.0"


@dataclass
class Line:
    """One task, from its request to its result."""

    task: DemoTask
    task_id: int
    request: dict[str, Any]
    inputs: dict[str, Path]
    answer: dict[str, Any] = field(default_factory=dict)
    callback: dict[str, Any] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)  # as `GET /api/ai/tasks/{task_id}` shows it

    @property
    def succeeded(self) -> bool:
        """Whether the callback said that the task succeeded."""
        return self.callback.get("err_code") == 0

    @property
    def left_out(self) -> bool:
        """Whether the service refused the task at once, because a model is missing; the answer has the reason."""
        return self.task.optional and self.answer.get("err_code") == -1

    @property
    def seconds(self) -> float:
        """From the start of the run to its end."""
        times = [self.row.get(name) for name in ("started_at", "finished_at")]
        begin, end = (datetime.fromisoformat(value) if value else None for value in times)
        return (end - begin).total_seconds() if begin and end else 0.0


@contextmanager
def started(folder: Path, services: Collection[str]) -> Iterator[tuple[Stack, Receiver]]:
    """Run the router and these services on free loopback ports with an empty state directory of their own."""
    for name in ("state", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    with Receiver() as receiver:
        environment = {"KINORA_SERVICES": ",".join(services)}
        stack = Stack(folder / "state", (folder / "in", folder / "out"), receiver.url, environment=environment)
        with stack.running():
            yield stack, receiver


def prepare(tasks: Sequence[DemoTask], folder: Path) -> list[Line]:
    """Cut the clips and fill in the requests."""
    lines = []
    for task_id, task in enumerate(tasks, start=FIRST_TASK_ID):
        inputs = {name: material(excerpt, folder / "in") for name, excerpt in task.inputs.items()}
        paths = {name: str(path) for name, path in inputs.items()}
        request = {"task_id": task_id, "dist_dir": str(folder / "out"), **paths, **task.fields}
        lines.append(Line(task, task_id, request, inputs))
    return lines


def material(excerpt: Excerpt, folder: Path) -> Path:
    """Return the input file of a task, made or copied into the demo's media root."""
    source = weights.path(excerpt.weight)
    if excerpt.size is None:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(source, folder / source.name))
    if not excerpt.seconds:
        return clips.still(source, folder / f"{source.stem}-{excerpt.begin:g}.png", at=excerpt.begin, size=excerpt.size)
    name = f"{source.stem}-{excerpt.begin:g}-{excerpt.seconds:g}-{excerpt.size[0]}x{excerpt.size[1]}.mp4"
    return clips.excerpt(
        source, folder / name, begin=excerpt.begin, seconds=excerpt.seconds, size=excerpt.size
    )  # fmt: skip


def submit(client: httpx.Client, line: Line) -> None:
    """Post one task as a backend would."""
    line.answer = client.post(f"/api/ai/{line.task.service}", json=line.request).json()
    if line.answer["err_code"] != 0:
        line.callback = {"err_code": -1, "err_msg": line.answer["err_msg"]}


def follow(
    client: httpx.Client, receiver: Receiver, lines: Sequence[Line], show: Callable[[Line], None]
) -> None:  # fmt: skip
    """Watch the tasks through the router until each callback has arrived; a late one counts as a failure."""
    deadline = time.monotonic() + CALLBACK_SECONDS
    while True:
        for line in lines:
            if not line.callback and (arrived := receiver.of(line.task_id)):
                line.callback = arrived[0].payload
            rows = client.get(f"/api/ai/tasks/{line.task_id}", params={"service": line.task.service})
            if rows.status_code == httpx.codes.OK:
                line.row = rows.json()["tasks"][0]
            show(line)
        if all(line.callback for line in lines):
            return
        if time.monotonic() > deadline:
            late = {"err_code": -1, "err_msg": f"no callback within {CALLBACK_SECONDS:g} s"}
            for line in lines:
                line.callback = line.callback or late
            return
        time.sleep(POLL_SECONDS)


def write_results(lines: Sequence[Line], folder: Path) -> Path:
    """Store requests, answers, callbacks, timings and descriptions of the files."""
    target = folder / "results.json"
    content = {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": [
            {
                "title": line.task.title,
                "request": line.request,
                "answer": line.answer,
                "callback": line.callback if not line.left_out else None,
                "seconds": line.seconds,
                "details": line.row.get("details", {}),
                "inputs": {name: described(path) for name, path in line.inputs.items()},
                "result": described(outcome(line, folder).result) if line.succeeded else None,
            }
            for line in lines
        ],
    }
    target.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    return target


def draw_sheet(lines: Sequence[Line], folder: Path) -> Path:
    """Draw each result beside its input."""
    rows = [
        sheet.Row(line.task.title, caption(line, folder), line.task.panels(outcome(line, folder)))
        for line in lines
        if line.succeeded
    ]
    return sheet.draw("Kinora", SUBTITLE.format(credit=CREDIT), rows, folder / "contact_sheet.png")


def outcome(line: Line, folder: Path) -> DemoOutcome:
    """Return the files of a task."""
    return DemoOutcome(line.inputs, folder / "out", line.callback)


def caption(line: Line, folder: Path) -> str:
    """Return what was asked, how long it took and what the result is."""
    details = line.row.get("details", {})
    made_by = [str(details[name]) for name in ("engine", "model") if details.get(name)]
    result = described(outcome(line, folder).result)
    return "   ·   ".join(
        [f"POST /api/ai/{line.task.service}", *made_by, summary(result), f"{line.seconds:.1f} s"]
    )  # fmt: skip


def described(path: Path) -> dict[str, Any]:
    """Describe a video; of a picture return only the name."""
    if path.suffix != ".mp4":
        return {"name": path.name}
    found = clips.facts(path)
    return {"name": path.name, "summary": str(found)} | asdict(found)


def summary(description: dict[str, Any]) -> str:
    """Return the one line about a file."""
    text: str = description.get("summary") or description["name"]
    return text
