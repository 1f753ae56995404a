"""How a command reaches the services' storage: started if it does not run, and then stopped again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer
from rich.console import Console

from shared.database.database import Database
from shared.database.pool import Pool
from shared.errors import Problem
from shared.settings import Settings

T = TypeVar("T")

console = Console()


def with_storage(work: Callable[[Settings, Pool], Awaitable[T]]) -> T:
    """Run one piece of work on the storage; a problem becomes its sentence and exit code 1."""
    settings = Settings.load()
    database = Database(settings)

    async def run() -> T:
        pool = await Pool(database.uri).open()
        try:
            return await work(settings, pool)
        finally:
            await pool.close()

    try:
        database.start()
        return asyncio.run(run())
    except Problem as problem:
        console.print(problem.sentence(settings.language), style="red", markup=False)
        raise typer.Exit(1) from problem
    finally:
        database.stop()
