"""The schema: numbered migrations, which only add to it."""

import logging
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import psycopg

from shared.database.pool import KEEPALIVE
from shared.queue.client import queue_schema

logger = logging.getLogger(__name__)


MIGRATIONS = files("shared.database") / "migrations"
SCHEMA_LOCK = 0x6B696E6F7261  # "kinora": one process at a time changes the schema
SCHEMA_LOCK_SECONDS = 5  # a change that waits for a table makes all others wait behind it: better to fail and try again


def apply_schema(uri: str) -> None:
    """Bring the queue's tables and ours up to what this version knows; safe to run by many processes at once.

    Migrations only add to the schema. An older version leaves a newer schema as it is and works with it, so two
    versions can share one database. Raises psycopg.Error.
    """
    with psycopg.connect(uri, connect_timeout=2, **KEEPALIVE) as connection:
        if not _missing(connection):
            return
        connection.execute(
            "SELECT set_config('lock_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', '10s', true)",
            (f"{SCHEMA_LOCK_SECONDS}s",),
        )
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        if not _exists(connection, "procrastinate_jobs"):
            connection.execute(queue_schema())
        connection.execute(
            "CREATE TABLE IF NOT EXISTS kinora_migrations"
            " (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for number, migration in _missing(connection).items():
            logger.info("storage: applying %s", migration.name)
            connection.execute(migration.read_text(encoding="utf-8"))
            connection.execute("INSERT INTO kinora_migrations VALUES (%s, %s)", (number, migration.name))


def _missing(connection: psycopg.Connection[Any]) -> dict[int, Traversable]:
    """Return the migrations that were not applied yet, in their order."""
    known = {int(path.name.split("_")[0]): path for path in MIGRATIONS.iterdir() if path.name.endswith(".sql")}
    applied: set[int] = set()
    if _exists(connection, "kinora_migrations"):
        applied = {number for (number,) in connection.execute("SELECT number FROM kinora_migrations")}
    return {number: known[number] for number in sorted(known.keys() - applied)}


def _exists(connection: psycopg.Connection[Any], table: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return bool(found and found[0])
