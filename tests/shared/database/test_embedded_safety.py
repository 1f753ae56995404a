"""Who can reach the embedded PostgreSQL, what it runs as, and whose rights are never touched."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shared.database import migrate, postgres_programs, server_account
from shared.database.data_directory import SOCKET, DataDirectory
from shared.database.database import Database
from shared.database.postgres_programs import PROGRAMS, programs_for
from shared.database.server_account import account_of
from shared.errors import Misconfigured, Unavailable
from shared.queue.client import queue_schema
from shared.settings import Settings
from tests.support.users import NOBODY, as_nobody

ASK = "import psycopg, sys; print(psycopg.connect(sys.argv[1]).execute('SELECT current_user').fetchone()[0])"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder whose parents are open to all users, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="kinora-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def started(state: Path) -> Database:
    return Database(Settings(state_dir=state)).start()


def server_pid(state: Path) -> int:
    return int((state / "postgres" / "postmaster.pid").read_text().split()[0])


def asked(database: Database) -> tuple[object, ...] | None:
    with psycopg.connect(database.uri) as connection:
        return connection.execute("SELECT 1").fetchone()


def modes(path: Path) -> dict[Path, tuple[int, int]]:
    return {folder: (folder.stat().st_mode, folder.stat().st_uid) for folder in (path, *path.parents)}


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("name", ["plain", "my videos 100%", "für 状态 'x' \"y\" $z", "x" * 150])
def test_wherever_it_lies_it_starts_and_no_parent_is_touched(home: Path, name: str, *, closed: bool) -> None:
    parent = home / name
    parent.mkdir(mode=0o700 if closed else 0o755)
    before = modes(parent)
    in_tmp = set(Path(tempfile.gettempdir()).iterdir())
    database = started(parent / "state")
    try:
        assert asked(database) == (1,)
        assert modes(parent) == before
        data = parent / "state" / "postgres"
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert (data / SOCKET).is_socket()
        new = {path.name for path in Path(tempfile.gettempdir()).iterdir()} - {path.name for path in in_tmp}
        assert [one for one in new if one.startswith(("kinora-", ".lockfile")) and "kinora-test-" not in one] == []
    finally:
        database.stop()


def psql_for_nobody(folder: Path) -> list[str]:
    """Return a command that nobody can run, wherever these tests are installed."""
    psql = programs_for(account_of(NOBODY.pw_uid)) / "psql"
    return [str(psql), "-h", str(folder), "-U", "postgres", "-c", "SELECT 1"]


@needs_root
@pytest.mark.parametrize("name", ["state", "my state"])
def test_another_user_of_the_machine_can_neither_connect_nor_write(home: Path, name: str) -> None:
    database = started(home / name)
    data = home / name / "postgres"
    try:
        psql = psql_for_nobody(data)
        stranger = subprocess.run(
            psql, capture_output=True, text=True, user="nobody", group=NOBODY.pw_gid, extra_groups=[], check=False
        )
        assert stranger.returncode == 2
        assert "Permission denied" in stranger.stderr
        assert not as_nobody(lambda: (data / "postgresql.conf").open("a"))
        assert not as_nobody(lambda: (home / name / "postgres.start").open("a"))
    finally:
        database.stop()


@needs_root
def test_who_comes_as_far_as_the_socket_is_still_asked_who_it_is(home: Path) -> None:
    database = started(home / "state")
    folder = os.open(home / "state" / "postgres", os.O_RDONLY)
    try:
        (home / "state" / "postgres").chmod(0o711)  # as if the folder's rights had been lost
        (home / "state" / "postgres" / SOCKET).chmod(0o777)
        psql = psql_for_nobody(home / "state" / "postgres")
        stranger = subprocess.run(
            psql, capture_output=True, text=True, user="nobody", group=NOBODY.pw_gid, extra_groups=[], check=False
        )
        assert stranger.returncode == 2
        assert "Peer authentication failed" in stranger.stderr
        (home / "state" / "postgres").chmod(0o700)
    finally:
        os.close(folder)
        database.stop()


@needs_root
@pytest.mark.parametrize("name", ["state", "my state"])
def test_the_server_is_an_own_user_without_any_group_of_root(home: Path, name: str) -> None:
    database = started(home / name)
    try:
        lines = Path(f"/proc/{server_pid(home / name)}/status").read_text().splitlines()
        status = {line.split(":")[0]: line.split(":")[1].split() for line in lines}
        assert status["Groups"] == []
        assert "0" not in status["Uid"] + status["Gid"]
        owner = (home / name / "postgres").owner()
        assert owner == server_account.SERVER_USER
    finally:
        database.stop()


@needs_root
def test_a_user_that_is_not_root_has_a_server_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The installation of these tests may be closed to other users: what is read of it later is here.
    first = started(home / "first")
    assert asked(first) == (1,)
    first.stop()
    shutil.copytree(str(migrate.MIGRATIONS), home / "migrations")
    schema = queue_schema()
    monkeypatch.setattr(migrate, "MIGRATIONS", home / "migrations")
    monkeypatch.setattr(migrate, "queue_schema", lambda: schema)
    monkeypatch.setattr(postgres_programs, "PROGRAMS", programs_for(account_of(NOBODY.pw_uid)))
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)

    def use() -> None:
        database = started(home / "my state")
        assert asked(database) == (1,)
        assert (home / "my state" / "postgres").owner() == "nobody"
        database.stop()

    assert as_nobody(use)
    database = started(home / "my state")  # and root may look after it
    try:
        assert Path(f"/proc/{server_pid(home / 'my state')}").owner() == "nobody"
        assert asked(database) == (1,)
    finally:
        database.stop()


def test_an_installation_that_trusted_everybody_is_tightened(home: Path) -> None:
    started(home / "state").stop()
    rules = home / "state" / "postgres" / "pg_hba.conf"
    rules.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    database = started(home / "state")
    try:
        assert "trust" not in rules.read_text()
        rules.write_text("local all all trust\n")  # a running server of an older version
        Database(Settings(state_dir=home / "state")).start().stop()
        with psycopg.connect(database.uri) as connection:
            shown = connection.execute("SELECT auth_method, options FROM pg_hba_file_rules").fetchall()
        assert shown == [("peer", ["map=kinora"])]
    finally:
        database.stop()


def test_a_planted_link_is_refused_and_what_it_names_is_left_alone(home: Path) -> None:
    (home / "theirs").mkdir(mode=0o750)
    (home / "state").mkdir()
    (home / "state" / "postgres").symlink_to(home / "theirs")
    before = modes(home / "theirs")
    with pytest.raises(Misconfigured, match="is a link"):
        started(home / "state")
    assert modes(home / "theirs") == before
    assert list((home / "theirs").iterdir()) == []


def test_a_planted_link_in_place_of_the_draft_is_not_followed(home: Path) -> None:
    (home / "theirs").mkdir()
    (home / "theirs" / "kept").touch()
    (home / "state").mkdir()
    (home / "state" / "postgres.new").symlink_to(home / "theirs")
    with pytest.raises(Unavailable, match=r"postgres\.new"):
        started(home / "state")
    assert [path.name for path in (home / "theirs").iterdir()] == ["kept"]


def test_a_data_directory_that_is_open_to_others_is_refused_and_stays_as_it_is(home: Path) -> None:
    started(home / "state").stop()
    (home / "state" / "postgres").chmod(0o755)
    with pytest.raises(Misconfigured, match="chmod 700"):
        started(home / "state")
    assert stat.S_IMODE((home / "state" / "postgres").stat().st_mode) == 0o755


@needs_root
def test_a_data_directory_of_root_is_refused(home: Path) -> None:
    (home / "state" / "postgres").mkdir(parents=True, mode=0o700)
    with pytest.raises(Misconfigured, match="chown -R"):
        started(home / "state")


@needs_root
def test_a_data_directory_of_somebody_else_is_refused(home: Path) -> None:
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    started(home / "state").stop()
    for path in (home / "state").iterdir():
        if path.is_file():
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)

    def refused() -> None:
        with pytest.raises(Misconfigured, match=f"belongs to {server_account.SERVER_USER}"):
            started(home / "state")

    assert as_nobody(refused)


def test_a_file_that_is_written_follows_no_link(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "theirs").write_text("kept")
    for name in ("pg_hba.conf", "pg_hba.conf.kinora"):
        (data / name).symlink_to(tmp_path / "theirs")
    os.chown(data, NOBODY.pw_uid if os.geteuid() == 0 else -1, -1)
    directory = DataDirectory(data)
    directory.open()
    assert directory.write("pg_hba.conf", "ours")
    assert not directory.write("pg_hba.conf", "ours")
    assert ((data / "pg_hba.conf").read_text(), (tmp_path / "theirs").read_text()) == ("ours", "kept")
    assert (data / "pg_hba.conf").stat().st_uid == data.stat().st_uid
    directory.close()


@needs_root
@pytest.mark.slow
def test_an_installation_behind_a_closed_folder_is_copied_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    wheel = PROGRAMS.parents[1]
    for tree in (PROGRAMS.parent, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(tree, closed / tree.relative_to(wheel.parent), symlinks=True)
    monkeypatch.setattr(postgres_programs, "PROGRAMS", closed / PROGRAMS.relative_to(wheel.parent))
    monkeypatch.setattr(postgres_programs, "COPIES", home / "lib")
    before = modes(closed)
    database = started(home / "state")
    try:
        program = str(Path(f"/proc/{server_pid(home / 'state')}/exe").readlink())
        assert program.startswith(str(home / "lib"))
        assert asked(database) == (1,)
        assert modes(closed) == before
        copies = list((home / "lib").iterdir())
        assert [copy.stat().st_mode & 0o7022 for copy in copies] == [0]
    finally:
        database.stop()
    started(home / "state").stop()
    assert list((home / "lib").iterdir()) == copies
    copies[0].chmod(0o777)
    with pytest.raises(Misconfigured, match="only root can write"):
        started(home / "state")


@needs_root
def test_without_useradd_the_remedy_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_account, "SERVER_USER", "kinora-nobody-has-this")
    monkeypatch.setattr(server_account, "SYSTEM_FOLDERS", str(home))
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(Misconfigured, match=r"no useradd.*KINORA_DATABASE_URL"):
        started(home / "state")
    (home / "useradd").write_text("#!/bin/sh\necho cannot lock /etc/passwd >&2\nexit 1\n")
    (home / "useradd").chmod(0o755)
    with pytest.raises(Misconfigured, match="cannot lock /etc/passwd"):
        started(home / "state")


def test_a_path_that_other_processes_can_write_is_given_to_them(home: Path) -> None:
    database = started(home / "state")
    try:
        other = subprocess.run([sys.executable, "-c", ASK, database.uri], capture_output=True, text=True, check=True)
        assert other.stdout == "postgres\n"
    finally:
        database.stop()
