"""`kinora demo`: run every capability on this machine, end to end."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from shared.errors import Problem
from shared.settings import Settings
from shared.testing.stack import StackFailed
from shared.vocabulary import SERVICES

if TYPE_CHECKING:
    from shared.demo import run

console = Console()


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where clips, results and the contact sheet go.")] = Path(
        "demo"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Show this service alone; may be repeated.")] = None,
) -> None:
    """Submit one real task per capability through the router and wait for its callback with a real receiver."""
    try:
        succeeded = show(folder.resolve(), only or SERVICES)
    except Problem as problem:
        console.print(problem.sentence(Settings.load().language), style="red", markup=False)
        raise typer.Exit(1) from problem
    except StackFailed as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from failure
    if not succeeded:
        raise typer.Exit(1)


def show(folder: Path, services: Collection[str]) -> bool:
    """Run the demonstration; True if every callback said `err_code` 0, apart from optional tasks that were refused."""
    from shared.demo import run  # noqa: PLC0415  # codecs and pictures load only when the demo runs
    from shared.demo.tasks import TASKS  # noqa: PLC0415

    chosen = [task for task in TASKS if task.installed and task.service in services]
    if not chosen:
        console.print(f"there are no demo tasks of {', '.join(services)}", style="red")
        return False
    with console.status("cutting the clips"):
        lines = run.prepare(chosen, folder)
    with (
        console.status("starting router, services and database") as status,
        run.started(folder, services) as (stack, receiver),
    ):
        status.stop()
        console.print(f"router {stack.url}   callbacks {receiver.url}   log {stack.log}", highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with stack.client() as client, Progress(*columns, TextColumn("{task.fields[state]}"), console=console) as bars:
            shown = {}
            for line in lines:
                run.submit(client, line)
                shown[line.task_id] = bars.add_task(line.task.title, total=1.0, state="")
                if line.left_out:
                    bars.stop_task(shown[line.task_id])

            def update(line: run.Line) -> None:
                state = (
                    "not here" if line.left_out else "called back" if line.callback else str(line.row.get("state", ""))
                )
                bars.update(shown[line.task_id], completed=line.row.get("progress", 0), state=state)

            run.follow(client, receiver, lines, update)
    report(lines, run.write_results(lines, folder), run.draw_sheet(lines, folder))
    return all(line.succeeded or line.left_out for line in lines)


def report(lines: "list[run.Line]", results: Path, picture: Path) -> None:
    """Print the results."""
    from shared.demo import run  # noqa: PLC0415

    table = Table("capability", Column("seconds", justify="right"), Column("callback", no_wrap=True), "result")
    for line in lines:
        if line.succeeded:
            outcome = run.summary(run.described(run.outcome(line, results.parent).result))
            said = "[green]err_code 0[/green]"
            table.add_row(line.task.title, f"{line.seconds:.1f}", said, outcome)
        elif line.left_out:
            table.add_row(line.task.title, "", "[yellow]not here[/yellow]", line.answer["err_msg"])
        else:
            said = f"[red]err_code {line.callback.get('err_code')}[/red]"
            table.add_row(line.task.title, f"{line.seconds:.1f}", said, line.callback.get("err_msg", ""))
    console.print(table)
    console.print(f"results       {results}\ncontact sheet {picture}", highlight=False)
