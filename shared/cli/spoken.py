"""How a command says a problem: one sentence on the error output, and an exit code."""

import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from shared.cli.router_client import Refused, RouterSilent
from shared.errors import Problem
from shared.settings import Settings

REFUSED, UNREACHABLE, INTERRUPTED = 1, 3, 130  # exit codes; 2 is a wrong command line
_LOOK_SECONDS = 0.25

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
    """Return the first letter of the answer, small; empty where none was given. Ctrl-C raises KeyboardInterrupt.

    The wait is in short pieces: Python looks for a Ctrl-C between its steps and after an interrupted call, so that
    one which falls between its last look and a read without limit would be seen only after the next key.
    """
    screen.print(question, end="")
    while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
        pass
    return sys.stdin.readline().strip().lower()[:1]


def _end(sentence: str, code: int, cause: Exception) -> None:
    screen.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code) from cause
