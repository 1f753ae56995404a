"""`kinora doctor`: whether everything that Kinora needs is here, and what to do if not."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from shared.doctor.finding import Finding
from shared.settings import Settings, describe_errors

MARKS = {"ok": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "broken": "[red]✗[/red]"}


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False) -> None:
    """Check this installation; exit 1 when something keeps it from working."""
    from shared.doctor.examination import examine  # noqa: PLC0415  # imports large libraries, for this command only

    def findings() -> Iterator[Finding]:
        try:
            settings = Settings.load()
        except ValidationError as error:
            yield from (Finding("settings", "broken", sentence) for sentence in describe_errors(error))
            return
        yield from examine(settings)

    console = Console()
    found = []
    for finding in findings():
        found.append(finding)
        if not as_json:
            console.print(f"{MARKS[finding.level]} {finding.subject:14} ", end="")
            console.print(finding.sentence, markup=False, highlight=False, soft_wrap=True)
    broken = any(finding.level == "broken" for finding in found)
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "findings": [asdict(finding) for finding in found]}))
    if broken:
        raise typer.Exit(1)
