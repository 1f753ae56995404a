"""The `kinora` command: one file a command in this package, composed here."""

from collections.abc import Callable
from importlib import import_module

import typer

COMMANDS = ("serve", "demo", "doctor")
GROUPS = ("submit", "run", "weights", "tasks", "callbacks")


def compose() -> typer.Typer:
    """Put the commands together; one whose extra is not installed says so when it is called."""
    kinora = typer.Typer(
        help="Self-hosted AI video services behind one small HTTP contract.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name in (*COMMANDS, *GROUPS):
        try:
            module = import_module(f"shared.cli.{name}")
        except ImportError as error:
            lenient = {"allow_extra_args": True, "ignore_unknown_options": True}
            hint = "Not available: its extra is not installed."
            kinora.command(name, help=hint, context_settings=lenient)(_unavailable(name, error))
            continue
        if name in COMMANDS:
            kinora.command(name)(getattr(module, name))
        else:
            kinora.add_typer(module.app, name=name)
    return kinora


def _unavailable(name: str, error: ImportError) -> Callable[[], None]:
    def say() -> None:
        typer.echo(f"kinora {name} needs more than this installation has: {error}", err=True)
        raise typer.Exit(2)

    return say


app = compose()
