"""`kinora callbacks`: which callbacks were delivered, which were not, and how to send them again."""

from typing import Annotated
from uuid import UUID

import typer
from rich.table import Column, Table

from shared.cli.with_storage import console, with_storage
from shared.database.pool import Pool
from shared.queue.client import Queue
from shared.settings import Settings
from shared.tasks import callbacks
from shared.vocabulary import CALLBACK_STATES, CallbackState

STATES: tuple[CallbackState, ...] = tuple(state for state in CALLBACK_STATES if state != "none")

app = typer.Typer(help="List callbacks and send them again.", no_args_is_help=True)


@app.command("list")
def list_callbacks(
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
) -> None:
    """Show stored callbacks, newest first."""
    found = with_storage(lambda _settings, pool: _listed(pool, _known(state), limit))
    table = Table(Column("id", no_wrap=True, min_width=36), "state", "tries", "next try", "last error", "body")
    for delivery in found:
        table.add_row(
            str(delivery.id),
            delivery.state,
            str(delivery.attempts),
            f"{delivery.next_at:%Y-%m-%d %H:%M:%S}" if delivery.next_at else "",
            delivery.last_error or "",
            delivery.body,
        )
    console.print(table)


@app.command()
def replay(
    keys: Annotated[list[str] | None, typer.Argument(help="Ids of `kinora callbacks list`.")] = None,
    *,
    parked: Annotated[bool, typer.Option("--parked", help="All parked callbacks.")] = False,
) -> None:
    """Send callbacks again under their own idempotency keys, now and for three more days."""
    if not keys and not parked:
        raise typer.BadParameter("name callbacks, or say --parked")

    async def work(_settings: Settings, pool: Pool) -> int:
        queue = Queue()
        async with pool.transaction() as connection:
            chosen = [UUID(key) for key in keys or []]
            if parked:
                chosen += await callbacks.parked(connection)
            return sum([await callbacks.replay(connection, queue, key) for key in chosen])

    console.print(f"queued again: {with_storage(work)}")


async def _listed(pool: Pool, state: CallbackState | None, limit: int) -> list[callbacks.StoredCallback]:
    async with pool.transaction() as connection:
        return await callbacks.listed(connection, state, limit)


def _known(state: str | None) -> CallbackState | None:
    for known in STATES:
        if known == state:
            return known
    if state:
        raise typer.BadParameter(f"state must be one of {', '.join(STATES)}")
    return None
