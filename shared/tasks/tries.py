"""The tries to deliver a callback: what was answered, when, and how long it took. SQL only."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from shared.database.pool import Connection

KEPT = 100  # the newest of one callback: three days of retries are about 900
ERROR_CHARACTERS = 500

Outcome = Literal["delivered", "refused", "unreachable"]


@dataclass(frozen=True)
class Try:
    """One try: `status` of the answer, None where there was none; `error` is empty when it was taken."""

    outcome: Outcome
    seconds: float
    status: int | None = None
    error: str = ""


async def note(connection: Connection, callback: UUID, attempt: Try) -> None:
    """Record a try, and forget the oldest beyond those that are kept; nothing happens when its callback has gone."""
    await connection.execute(
        "INSERT INTO kinora_callback_tries (callback, outcome, status, error, seconds)"
        " SELECT id, %s, %s, %s, %s FROM kinora_callbacks WHERE id = %s",
        (attempt.outcome, attempt.status, attempt.error[:ERROR_CHARACTERS], attempt.seconds, callback),
    )
    await connection.execute(
        "DELETE FROM kinora_callback_tries WHERE callback = %s AND number <= (SELECT number FROM kinora_callback_tries"
        " WHERE callback = %s ORDER BY number DESC OFFSET %s LIMIT 1)",
        (callback, callback, KEPT),
    )


async def of_callbacks(connection: Connection, callbacks: Collection[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """Return the tries of each callback, the newest first."""
    cursor = await connection.execute(
        "SELECT callback, at, outcome, status, error, seconds FROM kinora_callback_tries"
        " WHERE callback = ANY(%s) ORDER BY number DESC",
        (list(callbacks),),
    )
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in await cursor.fetchall():
        found.setdefault(row.pop("callback"), []).append(row)
    return found
