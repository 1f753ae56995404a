"""A task on the terminal: its progress bar with the time that is left, and the question whether to cancel it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from shared.cli.router_client import Refused, RouterClient, RouterSilent
from shared.cli.spoken import INTERRUPTED, REFUSED, asked, screen
from shared.contract.messages import TaskView

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0  # a router that is started again is back by then
_ENDED = {"succeeded", "failed", "cancelled"}


def bar() -> Progress:
    """Return a bar that shows a share and what a task says about itself."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[state]}"), console=screen)


def follow(router: RouterClient, find: Callable[[], TaskView], folder: Path | None) -> None:
    """Show a task until it ends, then print its result's path or its sentence and exit accordingly.

    Ctrl-C asks whether to cancel it; without a terminal, and with any other answer, the task goes on.
    """
    while True:
        try:
            task = _watch(find)
            break
        except KeyboardInterrupt:
            _interrupted(router, find())
    tell(task, folder)


def tell(task: TaskView, folder: Path | None) -> None:
    """Print what came of an ended task and exit."""
    result = task.result
    if task.state != "succeeded" or result is None:
        screen.print(result.err_msg if result else task.state, style="red", markup=False, soft_wrap=True)
        raise typer.Exit(REFUSED)
    for name in filter(None, (result.video_url, result.preview_image, *result.reference_images)):
        typer.echo(folder / name if folder else name)


def _watch(find: Callable[[], TaskView]) -> TaskView:
    silent_since: float | None = None
    with bar() as bars:
        shown = bars.add_task("", total=1.0, state="")
        while True:
            try:
                task = find()
            except RouterSilent:  # a router that starts again keeps no task from going on
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > PATIENCE_SECONDS:
                    raise
                bars.update(shown, state="waiting for the router")
            else:
                silent_since = None
                bars.update(
                    shown, description=f"{task.service} {task.task_id}", completed=task.progress, state=standing(task)
                )
                if task.state in _ENDED:
                    return task
            time.sleep(POLL_SECONDS)


def standing(task: TaskView) -> str:
    """Return where a task stands, in a few words."""
    if task.state == "queued":
        return f"place {task.queue_position} in the queue" if task.queue_position else "queued"
    if task.state == "running" and task.eta_seconds is not None:
        minutes, seconds = divmod(round(task.eta_seconds), 60)
        return f"{minutes}:{seconds:02} left"
    return task.state


def _interrupted(router: RouterClient, task: TaskView) -> None:
    """Ask what a Ctrl-C meant: return to go on watching."""
    if task.state in _ENDED:
        return
    if not sys.stdin.isatty():
        screen.print(f"the task goes on: kinora submit --watch {task.task_id}", highlight=False)
        raise typer.Exit(INTERRUPTED)
    try:
        answer = asked("[b]c[/b]ancel the task, [b]l[/b]eave it running, or [b]w[/b]atch on? ")
    except KeyboardInterrupt:  # whoever presses it twice wants to get away
        answer = "l"
    if answer == "c":
        try:
            router.cancel(task)
        except Refused as refused:  # it has just ended
            screen.print(str(refused), style="red", markup=False, soft_wrap=True)
    elif answer != "w":
        screen.print(f"the task goes on: kinora submit --watch {task.task_id}", highlight=False)
        raise typer.Exit(INTERRUPTED)
