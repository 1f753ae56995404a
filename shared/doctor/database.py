"""The database: whether it answers, its version, its tables, which processes use it, and its clock against ours."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from shared.doctor.finding import Finding
from shared.errors import Problem
from shared.settings import Settings

LEAST_VERSION = 14
SKEW_SECONDS = 2.0


def database(settings: Settings) -> Iterator[Finding]:
    """Connect as the services do. An external server is only read; the embedded one is started for the check."""
    if settings.database_url:
        yield from _look(settings.database_url.get_secret_value(), "the database of KINORA_DATABASE_URL")
        return
    from shared.database.database import Database  # noqa: PLC0415  # its drivers are not part of every installation

    users = users_of(settings.state_dir)
    storage = Database(settings)
    try:
        storage.start()
    except (Problem, OSError) as problem:
        advice = f"read the end of {settings.state_dir}/postgres/log, and look for another server on that folder"
        yield Finding("database", "broken", f"the embedded PostgreSQL cannot be started ({problem}): {advice}")
        return
    try:
        yield from _look(storage.uri, "the embedded one")
        held = f"in use by {', '.join(users)}" if users else "no other process uses it now"
        yield Finding("database", "ok", f"the embedded PostgreSQL in {settings.state_dir}: {held}")
    finally:
        storage.stop()


def users_of(state_dir: Path) -> list[str]:
    """Name the processes that hold the embedded server's file of users open."""
    users = str(state_dir / "postgres.users")
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended meanwhile, or is another user's
            if any(file.path == users for file in process.open_files()):
                found.append(f"{process.name()} ({process.pid})")
    return found


def _look(uri: str, name: str) -> Iterator[Finding]:
    import psycopg  # noqa: PLC0415  # as above

    try:
        with psycopg.connect(uri, connect_timeout=5, autocommit=True) as connection:
            yield from _examine(connection, name)
    except psycopg.Error as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        yield Finding(
            "database", "broken", f"{name} cannot be used: {reason}. Start it, or correct KINORA_DATABASE_URL"
        )


def _examine(connection: Any, name: str) -> Iterator[Finding]:
    major = connection.info.server_version // 10000
    asked = time.time()
    row = connection.execute(
        "SELECT extract(epoch FROM clock_timestamp())::float8, pg_is_in_recovery(),"
        " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()),"
        " has_schema_privilege(current_schema(), 'CREATE'), current_setting('fsync')"
    ).fetchone()
    clock, standby, others, may_create, fsync = row
    skew = clock - (asked + time.time()) / 2
    text = f"{name} answers: PostgreSQL {major}, {others} other connections"
    if major < LEAST_VERSION:
        yield Finding("database", "broken", f"{text}: version {LEAST_VERSION} or later is needed, update the server")
    elif standby:
        yield Finding("database", "broken", f"{text}: it is a standby that takes no writes; name the primary")
    elif not may_create:
        yield Finding("database", "broken", f"{text}: this user may not create tables; GRANT CREATE on its schema")
        return
    else:
        yield Finding("database", "ok", text)
    if fsync != "on":
        yield Finding("database", "broken", f"{name} runs with fsync off: accepted tasks may be lost; switch it on")
    yield judge_clock(skew)
    yield from judge_tables(connection, name)


def judge_clock(skew_seconds: float) -> Finding:
    """Report whether the two clocks agree well enough for ages, signatures and heartbeats."""
    if abs(skew_seconds) <= SKEW_SECONDS:
        return Finding("clock", "ok", f"this machine and the database agree within {SKEW_SECONDS:g} s")
    way = "behind" if skew_seconds > 0 else "ahead of"
    text = f"this machine is {abs(skew_seconds):.1f} s {way} the database: let NTP set both clocks"
    return Finding("clock", "warning", f"{text}, or receivers will refuse signed callbacks as too old")


def judge_tables(connection: Any, name: str) -> Iterator[Finding]:
    """Compare the tables with this version, without changing them."""
    from shared.database.migrate import MIGRATIONS  # noqa: PLC0415  # as above

    known = {int(path.name.split("_")[0]) for path in MIGRATIONS.iterdir() if path.name.endswith(".sql")}
    applied: set[int] = set()
    if connection.execute("SELECT to_regclass('kinora_migrations') IS NOT NULL").fetchone()[0]:
        with suppress(LookupError):
            applied = {number for (number,) in connection.execute("SELECT number FROM kinora_migrations")}
    if newer := applied - known:
        text = f"{name} was upgraded by a newer Kinora (up to change {max(newer)}): both may run, update this one"
        yield Finding("tables", "warning", text)
    elif missing := known - applied:
        text = f"{name} lacks {len(missing)} of {len(known)} changes to its tables: the next start applies them"
        yield Finding("tables", "ok", text)
    else:
        yield Finding("tables", "ok", f"the tables of {name} match this version")
