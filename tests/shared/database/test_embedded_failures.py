"""What the embedded PostgreSQL says when it does not start, and what happens when its files vanish."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from shared.database import embedded_postgres
from shared.database.database import Database
from shared.errors import Misconfigured, Unavailable
from shared.process.file_lock import FileLock
from shared.settings import Settings
from shared.testing import processes


def eventually(what: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def server_pid(state: Path) -> int:
    return int((state / "postgres" / "postmaster.pid").read_text().split()[0])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: (data / "global" / "pg_control").write_bytes(b""), "pg_control"),
        (lambda data: (data / "postgresql.conf").write_text("what = is this"), "postgresql.conf"),
        (lambda data: (data / "PG_VERSION").write_text("16\n"), "incompatible"),
    ],
)
def test_damaged_files_are_one_sentence_with_the_servers_own_reason(
    state: Path, damage: Callable[[Path], object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    Database(Settings(state_dir=state)).start().stop()
    damage(state / "postgres")
    database = Database(Settings(state_dir=state))
    with pytest.raises(Unavailable, match=f"did not start: (FATAL|PANIC):.*{reason}.*{state}/postgres/log"):
        database.start()
    database.stop()
    assert "Traceback" not in caplog.text


def test_a_lock_that_is_held_for_too_long_names_who_holds_it(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "LOCK_SECONDS", 0.2)
    database = Database(Settings(state_dir=state))
    with FileLock(state / "postgres.start"), pytest.raises(Unavailable, match=f"process {os.getpid()} has held"):
        database.start()
    database.start().stop()


def test_a_state_folder_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"KINORA_STATE_DIR.*Not a directory"):
        Database(Settings(state_dir=tmp_path / "file" / "state")).start()


def test_where_a_database_is_required_none_is_made(state: Path) -> None:
    with pytest.raises(Misconfigured, match="KINORA_STATE_REQUIRED"):
        Database(Settings(state_dir=state, state_required=True)).start()
    assert not state.exists()
    Database(Settings(state_dir=state)).start().stop()
    Database(Settings(state_dir=state, state_required=True)).start().stop()


def move_away(state: Path) -> None:
    state.rename(state.with_name("elsewhere"))


def remove(state: Path) -> None:
    while state.exists():
        shutil.rmtree(state, ignore_errors=True)  # the server removes files of its own meanwhile


def empty(state: Path) -> None:
    for path in (state / "postgres").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def replace(state: Path) -> None:
    (state / "postgres").rename(state / "old")
    (state / "postgres").mkdir(mode=0o700)


@pytest.mark.parametrize("name", ["state", "my state"])
@pytest.mark.parametrize("loss", [move_away, remove, empty, replace])
def test_files_that_vanish_are_noticed_and_no_empty_database_takes_their_place(
    tmp_path: Path, loss: Callable[[Path], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    state, lost = tmp_path / name, threading.Event()
    database = Database(Settings(state_dir=state), on_loss=lost.set).start()
    pid = server_pid(state)
    with psycopg.connect(database.uri) as connection:
        loss(state)
        assert lost.wait(10)
        eventually(lambda: processes.live(pid) is None)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert "was removed while it was in use" in caplog.text
    time.sleep(1.5)
    assert not (state / "postgres" / "PG_VERSION").exists()
    database.stop()
    assert state.exists() == (loss in {empty, replace})


def test_a_server_that_dies_beside_its_files_is_still_started_again(state: Path) -> None:
    lost = threading.Event()
    database = Database(Settings(state_dir=state), on_loss=lost.set).start()
    pid = server_pid(state)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: (state / "postgres" / "postmaster.pid").exists() and server_pid(state) != pid)
    assert not lost.is_set()
    database.stop()
