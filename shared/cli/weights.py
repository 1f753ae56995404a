"""`kinora weights list|pull|add|verify|check`: list, fetch, add, verify and try weights and test media."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from shared import weights
from shared.errors import Problem
from shared.settings import Settings
from shared.weights.download import RemoteFile
from shared.weights.hub import HubFile

app = typer.Typer(help="See, fetch and check weights and test media.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Names as `kinora weights list` shows them.")]


@app.command("list")
def show() -> None:
    """Show every entry: its size, whether it is here, its licence (yellow: not for commercial use), and its purpose."""
    console = Console(highlight=False)
    width = max(map(len, weights.entries()))
    for entry in weights.entries().values():
        here = "here" if weights.exists(entry.name) else "default" if entry.default else ""
        line = f"{entry.name:{width}}  {entry.size / 1e6:10,.1f} MB  {here:7}  "
        licence = (entry.licence, "" if entry.commercial else "yellow")
        console.print(Text.assemble((line, "green" if here == "here" else ""), licence), soft_wrap=True)
        console.print(Padding(Text(entry.purpose, "dim"), (0, 0, 0, 4)))


@app.command()
def pull(
    names: Names = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every entry that needs no consent and has a sha256, except whole models.")
    ] = False,
    accept_licence: Annotated[
        list[str] | None, typer.Option(help="A non-commercial licence that you have read and may use.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="Put the files, as published, into this folder: settings can name it instead of a model."),
    ] = None,
) -> None:
    """Fetch, verify and store the named entries; without a name those that the default settings need.

    What a model brings along is pulled with it, always into the store.
    """
    entries = list(weights.entries().values())
    free = [entry for entry in entries if not entry.needs_consent and not entry.is_model and entry.has_sha256]
    chosen = names or [entry.name for entry in entries if entry.default or (everything and entry in free)]
    if into and len(chosen) != 1:
        raise typer.BadParameter("--into takes one name")
    hub_url = Settings.load().hub_url
    with _problems_said(), _progress() as progress:
        for name in _with_companions(chosen):
            entry = weights.entry(name)
            task = progress.add_task(name, total=entry.size)
            done: dict[str, int] = {}

            def on_file(file: RemoteFile | HubFile, count: int, task: int = task, done: dict[str, int] = done) -> None:
                done[file.name] = count
                progress.update(task, completed=sum(done.values()))  # type: ignore[arg-type]  # TaskID is an int

            asked = name in chosen
            pull_one = partial(weights.pull_into, into) if into and asked else weights.pull
            with _problems_said(fatal=asked):  # what a model brings along it can do without
                pull_one(name, accepted_licences=accept_licence or (), on_file=on_file, hub_url=hub_url)
                progress.update(task, completed=entry.size)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name of `kinora weights list`; or one of your own for an upscaler.")],
    source: Annotated[
        Path,
        typer.Argument(help="A whole model's folder in diffusers layout, or a file of weights.", exists=True),
    ],
) -> None:
    """Store weights that you copied here, a folder or a file: they are checked, and their hashes are recorded."""
    with _problems_said():
        if source.is_file() and name not in weights.entries():
            tag = weights.add_own(name, source)
            told = f"stored as {tag}: set KINORA_UPSCALE_MODEL={tag}"
        else:
            told = f"{name}: stored in {weights.add(name, source)}"
    Console().print(told, markup=False, highlight=False, soft_wrap=True)


@app.command()
def verify(names: Names = None) -> None:
    """Hash every stored file again; exit 1 when one is missing or not what the catalogue says."""
    console = Console()
    chosen = names or [name for name in weights.entries() if weights.exists(name)]
    failed = False
    for name in chosen:
        with _problems_said():
            problems = weights.verify(name)
        failed |= bool(problems)
        console.print(f"{name}: {'; '.join(problems) or 'ok'}", markup=False, highlight=False)
    if failed:
        raise typer.Exit(1)


@app.command()
def check(name: Annotated[str, typer.Argument(help="A whole model, as wan-vace-1.3b, or a folder with one.")]) -> None:
    """Try a model of creation: one denoising step and one decode; exit 1 when it does not work here."""
    ran = subprocess.run([sys.executable, "-m", "services.creation.check", name], check=False)
    if ran.returncode:
        raise typer.Exit(1)


def _with_companions(names: list[str]) -> list[str]:
    """Return the names, and behind each those of what it brings along."""
    return list(dict.fromkeys(one for name in names for one in (name, *weights.entry(name).brings)))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


@contextmanager
def _problems_said(*, fatal: bool = True) -> Iterator[None]:
    """Turn a problem into its one sentence and, unless it is none that matters, exit code 1."""
    try:
        yield
    except Problem as problem:
        sentence = problem.sentence(Settings.load().language)
        style = "red" if fatal else "yellow"
        Console(stderr=True).print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)
        if fatal:
            raise typer.Exit(1) from problem
