"""The embedded PostgreSQL: joined by many, left by the last, started again by whoever finds it gone."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from shared.database import postgres_server
from shared.database.database import Database
from shared.database.migrate import apply_schema
from shared.database.pool import Connection, Pool
from shared.database.postgres_programs import run_program
from shared.database.postgres_server import PostgresServer
from shared.errors import Unavailable
from shared.process.file_lock import FileLock
from shared.settings import Settings
from shared.testing import processes

JOIN = """
import sys, time
from pathlib import Path
from shared.database.embedded_postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).join()
print(1, flush=True)
time.sleep(60)
"""


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("db") / "state"


@pytest.fixture
def database(state: Path) -> Iterator[Database]:
    database = Database(Settings(state_dir=state)).start()
    yield database
    database.stop()
    assert not (state / "postgres" / "postmaster.pid").exists()


def postmaster(state: Path) -> int:
    return int((state / "postgres" / "postmaster.pid").read_text().split()[0])


def eventually(what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except (OSError, ValueError, IndexError, psycopg.OperationalError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(database: Database) -> bool:
    with psycopg.connect(database.uri, connect_timeout=2) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_the_schema_is_there_and_may_be_applied_again(database: Database) -> None:
    apply_schema(database.uri)
    with psycopg.connect(database.uri) as connection:
        tables = connection.execute("SELECT to_regclass('kinora_tasks'), to_regclass('procrastinate_jobs')").fetchone()
    assert tables == ("kinora_tasks", "procrastinate_jobs")


def test_it_listens_on_no_network_address(database: Database) -> None:
    with psycopg.connect(database.uri) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_a_folder_with_spaces_and_other_letters_holds_a_server(tmp_path: Path) -> None:
    database = Database(Settings(state_dir=tmp_path / "my videos 100%" / "状态")).start()
    assert answers(database)
    database.stop()


def test_many_may_start_at_once_and_one_server_comes_of_it(state: Path) -> None:
    databases = [Database(Settings(state_dir=state)) for _ in range(4)]
    threads = [threading.Thread(target=database.start) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pid = postmaster(state)
    for database in databases[:-1]:
        database.stop()
    assert postmaster(state) == pid
    assert answers(databases[-1])
    databases[-1].stop()
    assert processes.live(pid) is None


def test_a_kill_during_the_first_start_leaves_nothing_that_keeps_the_second_from_starting(state: Path) -> None:
    half_made = subprocess.Popen([sys.executable, "-c", JOIN, str(state)], stdout=subprocess.PIPE)
    eventually((state / "postgres.new" / "PG_VERSION").exists)
    starting = psutil.Process(half_made.pid)
    for process in [*starting.children(recursive=True), starting]:
        processes.send(process, signal.SIGKILL)
    half_made.communicate()
    database = Database(Settings(state_dir=state)).start()
    assert answers(database)
    database.stop()


def test_a_killed_server_is_started_again_and_keeps_what_was_committed(database: Database, state: Path) -> None:
    with psycopg.connect(database.uri) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    pid = postmaster(state)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: postmaster(state) != pid and answers(database))
    with psycopg.connect(database.uri) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


@contextmanager
def this_process() -> Iterator[int]:
    yield os.getpid()


@contextmanager
def a_thread() -> Iterator[int]:
    ending = threading.Event()
    thread = threading.Thread(target=ending.wait)
    thread.start()
    assert thread.native_id
    yield thread.native_id
    ending.set()
    thread.join()


@contextmanager
def a_zombie() -> Iterator[int]:
    process = subprocess.Popen(["true"])
    eventually(lambda: processes.live(process.pid) is None)
    yield process.pid
    process.wait()


@contextmanager
def a_standalone_backend_that_is_gone() -> Iterator[int]:
    process = subprocess.Popen(["true"])
    process.wait()
    yield -process.pid


@pytest.mark.parametrize("somebody", [this_process, a_thread, a_zombie, a_standalone_backend_that_is_gone])
def test_a_pid_file_that_names_somebody_else_does_not_keep_it_from_starting(
    state: Path, somebody: Callable[[], AbstractContextManager[int]]
) -> None:
    first = Database(Settings(state_dir=state)).start()
    stale = (state / "postgres" / "postmaster.pid").read_text()
    first.stop()
    with somebody() as pid:
        (state / "postgres" / "postmaster.pid").write_text(stale.replace(stale.split()[0], str(pid), 1))
        second = Database(Settings(state_dir=state)).start()
        assert answers(second)
        second.stop()


@pytest.mark.parametrize("lines", [0, 1, 5, 7])
def test_a_pid_file_that_a_kill_left_half_written_does_not_keep_it_from_starting(state: Path, lines: int) -> None:
    first = Database(Settings(state_dir=state)).start()
    whole = (state / "postgres" / "postmaster.pid").read_text().splitlines(keepends=True)
    first.stop()
    dead = subprocess.Popen(["true"])
    dead.wait()
    (state / "postgres" / "postmaster.pid").write_text("".join([f"{dead.pid}\n", *whole[1:]][:lines]))
    second = Database(Settings(state_dir=state)).start()
    assert answers(second)
    second.stop()


def test_a_user_that_is_killed_does_not_hold_the_server_for_ever(state: Path) -> None:
    user = subprocess.Popen([sys.executable, "-c", JOIN, str(state)], stdout=subprocess.PIPE)
    assert user.stdout
    assert user.stdout.readline() == b"1\n"
    database = Database(Settings(state_dir=state)).start()
    user.kill()
    user.communicate()
    pid = postmaster(state)
    database.stop()
    assert processes.live(pid) is None


def test_a_server_that_is_killed_while_it_starts_is_given_up_and_started_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(Settings(state_dir=state)).start()
    database.stop()

    def start_and_kill(*arguments: Any, **options: Any) -> str:
        said = run_program(*arguments, **options)
        pid = postmaster(state)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: processes.live(pid) is None)  # a busy machine takes its time to end it
        return said

    monkeypatch.setattr(postgres_server, "run_program", start_and_kill)
    again = Database(Settings(state_dir=state))
    with pytest.raises(Unavailable):
        again.start()
    monkeypatch.undo()
    assert answers(again.start())
    again.stop()


def test_a_watch_goes_on_whatever_breaks(
    database: Database, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_self: PostgresServer) -> bool:
        raise OSError(24, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(PostgresServer, "accepts_connections", breaks)
        eventually(lambda: "checking the embedded PostgreSQL failed; retrying" in caplog.text)
    pid = postmaster(state)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: postmaster(state) != pid and answers(database))


async def test_who_waits_for_an_answer_of_a_server_that_hangs_is_told_soon(database: Database, state: Path) -> None:
    pool = await Pool(database.uri).open()
    assert await pool.is_reachable()
    with processes.suspended(postmaster(state)), pytest.raises(Unavailable):
        await asyncio.wait_for(pool.run_with_timeout(lambda c: c.execute("SELECT 1"), seconds=0.5), 5)
    while not await pool.is_reachable():  # noqa: ASYNC110  # the pool gets over it
        await asyncio.sleep(0.1)
    await pool.close()


async def test_a_pool_says_unavailable_while_the_server_is_away_and_recovers(database: Database, state: Path) -> None:
    async def work(connection: Connection) -> int:
        cursor = await connection.execute("SELECT 5 AS n")
        return int((await cursor.fetchone() or {})["n"])

    pool = await Pool(database.uri).open()
    assert await pool.is_reachable()
    with FileLock(state / "postgres.start"):  # nobody starts it again before we have looked
        os.kill(postmaster(state), signal.SIGKILL)
        while await pool.is_reachable():  # noqa: ASYNC110  # the server says nothing when it dies
            await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await pool.retry_until_committed(work, seconds=0)
    assert await pool.retry_until_committed(work, seconds=30) == 5
    await pool.close()


async def test_what_is_committed_is_synced_even_where_the_server_does_not_insist(database: Database) -> None:
    pool = await Pool(f"{database.uri}&options=-c%20synchronous_commit%3Doff").open()
    async with pool.transaction() as connection:
        cursor = await connection.execute("SHOW synchronous_commit")
        assert await cursor.fetchone() == {"synchronous_commit": "on"}
    await pool.close()


def test_another_server_may_be_named(database: Database, tmp_path: Path) -> None:
    other = Database(Settings(state_dir=tmp_path / "unused", database_url=database.uri))
    assert other.start().uri == database.uri
    other.stop()
    assert answers(database)
    assert not (tmp_path / "unused").exists()


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.database.database.START_SECONDS", 0.2)
    nowhere = f"postgresql://nobody@/none?host={tmp_path}"
    with pytest.raises(Unavailable):
        Database(Settings(state_dir=tmp_path, database_url=nowhere)).start()
