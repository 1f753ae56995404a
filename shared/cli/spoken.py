"""How a command says a problem: one sentence on the error output, and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from shared.cli.router_client import Refused, RouterSilent
from shared.errors import Problem
from shared.settings import Settings

REFUSED, UNREACHABLE, INTERRUPTED = 1, 3, 130  # exit codes; 2 is a wrong command line

screen = Console(stderr=True)  # what a script reads from the standard output is the result's path alone


@contextmanager
def spoken() -> Iterator[None]:
    """Turn a problem into its sentence and the exit code."""
    try:
        yield
    except Problem as problem:
        _end(problem.sentence(Settings.load().language), REFUSED, problem)
    except Refused as refused:
        _end(str(refused), REFUSED, refused)
    except RouterSilent as silent:
        _end(str(silent), UNREACHABLE, silent)


def asked(question: str) -> str:
    """Return the first letter of the answer, small; empty where none was given. Ctrl-C raises KeyboardInterrupt."""
    try:
        return screen.input(question).strip().lower()[:1]
    except EOFError:
        return ""


def _end(sentence: str, code: int, cause: Exception) -> None:
    screen.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code) from cause
