"""`kinora run`: what `kinora submit` does, in this process and without any server."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import typer
from rich.progress import Progress

from shared.cli.following import bar
from shared.cli.request_options import add_commands
from shared.cli.spoken import INTERRUPTED, asked, screen
from shared.contract.request import TaskRequest
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import Result
from shared.runner.task_handler import TaskHandler
from shared.settings import Settings
from shared.vocabulary import ServiceName

app = typer.Typer(help="Run one task here, without a server, and print the result's path.", no_args_is_help=True)


def run_here(_context: typer.Context, service: ServiceName, request: TaskRequest) -> None:
    """Run a valid request to its end; nothing is left of one that fails or that Ctrl-C cancels."""
    settings = Settings.load()
    folder = Path(request.dist_dir)
    folder.mkdir(parents=True, exist_ok=True)
    kind = "preview" if getattr(request, "programe", 1) == 0 else "generate"
    handler: TaskHandler = getattr(import_module(f"services.{service}.runner"), kind)()
    try:
        with bar() as bars, _asking(bars):
            shown = bars.add_task(service, total=1.0, state="loading the model")

            def report(progress: float) -> None:
                bars.update(shown, completed=progress, state=_left(bars.tasks[0].time_remaining))

            job = DirectJob(
                folder, settings, service=service, kind=kind, task_id=request.task_id, on_progress=report
            )  # fmt: skip
            result: Result = job.run(handler.work, request, handler.load(settings))
    except KeyboardInterrupt as interrupt:
        screen.print("stopped; nothing was left behind")
        raise typer.Exit(INTERRUPTED) from interrupt
    for name in filter(None, (result.video, result.preview, *result.references)):
        typer.echo(folder / name)


@contextmanager
def _asking(bars: Progress) -> Iterator[None]:
    """Have Ctrl-C ask first whether to cancel; a second one at the question, or one without a terminal, cancels."""

    def ask(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        bars.stop()
        if asked("[b]c[/b]ancel the task, or [b]g[/b]o on? ") == "c":
            raise KeyboardInterrupt
        signal.signal(signal.SIGINT, ask)
        bars.start()

    if not sys.stdin.isatty():
        yield
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} left"


add_commands(app, run_here)
