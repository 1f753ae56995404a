"""`kinora doctor`: is everything here that Kinora stands on, and what to do where it is not."""

import typer
from pydantic import ValidationError
from rich.console import Console

from shared.settings import Settings

MARKS = {"well": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "broken": "[red]✗[/red]"}


def doctor() -> None:
    """Look this installation over; exit 1 when something would keep it from working."""
    from shared.doctor import examine  # noqa: PLC0415  # looks at heavy things, for this command alone

    console = Console()
    try:
        settings = Settings.load()
    except ValidationError as error:
        for wrong in error.errors():
            name = "KINORA_" + "_".join(str(part) for part in wrong["loc"]).upper()
            console.print(f"{MARKS['broken']} {'settings':12} {name}: {wrong['msg']}", highlight=False)
        raise typer.Exit(1) from error
    broken = False
    for finding in examine(settings):
        broken |= finding.level == "broken"
        console.print(f"{MARKS[finding.level]} {finding.subject:12} ", end="")
        console.print(finding.sentence, markup=False, highlight=False, soft_wrap=True)
    if broken:
        raise typer.Exit(1)
