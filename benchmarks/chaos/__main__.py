"""`python -m benchmarks.chaos --kills 20`: one line on standard output, everything else on standard error."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.chaos.checker import PROMISES, Verdict, check
from benchmarks.chaos.history import TERMINAL, Delivered, FinalTask, History
from benchmarks.chaos.load import Load, Moody
from benchmarks.chaos.victims import Killer, ServiceManager
from benchmarks.chaos.witnesses import Onlooker, final_files, record_transitions, transitions
from benchmarks.clips import write_clip
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

SIZE = (48, 32)
FRAMES = 16
SETTLE_SECONDS = 180.0
ENVIRONMENT = {
    "KINORA_SERVICES": "upscale",
    "KINORA_DRAIN_SECONDS": "5",
    "KINORA_UPSCALE_MODEL": "animevideov3",
    "KINORA_PRESET": "ultrafast",
    "KINORA_SEGMENT_SECONDS": "0.2",  # so that even these clips are made in segments
    "OMP_NUM_THREADS": "1",  # pictures this small gain nothing from a second thread
}


def main() -> int:
    """Run, check, print the line; 0 only when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=FRAMES, help="of every clip: five make a segment")
    parser.add_argument("--keep", type=Path, help="store the recorded history in this file")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kinora-chaos-"))
    try:
        history = run(work, kills=arguments.kills, seed=arguments.seed, frames=arguments.frames)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if arguments.keep:
        history.write(arguments.keep)
    verdict = check(history)
    explain(verdict)
    print(verdict.line())
    return 0 if verdict.kept else 1


def run(work: Path, *, kills: int, seed: int, frames: int = FRAMES) -> History:
    """Put the stack under load, kill processes, wait until every task has ended, and collect what was recorded."""
    clip, out = work / "in" / "clip.mp4", work / "out"
    write_clip(clip, size=SIZE, frames=frames)
    out.mkdir()
    with Receiver(Moody(seed)) as receiver:
        stack = Stack(work / "state", (clip.parent, out), receiver.url, environment=ENVIRONMENT)
        manager = ServiceManager(stack)
        try:
            stack.start().wait_ready()
            record_transitions(stack)
            load = Load(stack.url, receiver, clip, out, size=SIZE, frames=frames, seed=seed)
            killer = Killer(stack, lambda: len(receiver.deliveries), seed=seed)
            onlooker = Onlooker(stack, out)
            for thread in (load, manager, onlooker):
                thread.start()
            while len(killer.kills) < kills:
                kill = killer.strike()
                say(f"kill {len(killer.kills)} of {kills}: {kill.victim} ({len(load.accepted)} answers so far)")
            load.finish()
            tasks = wait_until_all_ended(stack, sorted(load.tasks))
            onlooker.leave()
            history = History(kills=killer.kills, accepted=load.accepted, writers=onlooker.writers, tasks=tasks)
            history.transitions = transitions(stack)
            if any(task.state not in TERMINAL for task in tasks):
                say(stack.log_tail(200))
            manager.leave()
            stack.stop()
        finally:
            manager.leave()  # else it would restart what is killed here
            stack.kill()
        history.delivered = [Delivered(d.at, d.key, d.acknowledged, d.payload) for d in receiver.deliveries]
    announced = {task.result["video_url"]: task.task_id for task in tasks if task.result}
    history.files = final_files(out, load.tasks, announced, onlooker.first_sizes)
    return history


def wait_until_all_ended(stack: Stack, task_ids: list[int]) -> list[FinalTask]:
    """Return every task as the router shows it, once all have ended and been delivered, or after the time limit."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        time.sleep(1)
        try:
            tasks = [task for task_id in task_ids if (task := ask(stack, task_id))]
        except httpx.HTTPError as error:
            say(f"waiting for the last tasks: {error!r}")
            tasks = []
        late = time.monotonic() > deadline
        if late or (tasks and all(task.state in TERMINAL and task.callback == "delivered" for task in tasks)):
            return tasks


def ask(stack: Stack, task_id: int) -> FinalTask | None:
    """Ask the router for one task; None when it does not know it."""
    answer = httpx.get(f"{stack.url}/api/ai/tasks/{task_id}", trust_env=False, timeout=15)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    task = answer.raise_for_status().json()["tasks"][0]
    repeated = task["details"].get("segments", {}).get("repeated", 0)
    return FinalTask(task_id, task["state"], task["attempt"], task["callback"]["state"], task["result"], repeated)


def explain(verdict: Verdict) -> None:
    """Print every finding."""
    for promise in PROMISES:
        for finding in verdict.findings[promise]:
            say(f"{promise}: {finding}")


def say(text: str) -> None:
    """Print to standard error, so that standard output has only the one line."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
