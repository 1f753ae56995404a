"""What `kinora serve` says, in one sentence and by its exit code, when it cannot start."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.cli import startup_checks
from shared.cli.startup_checks import check_startup
from shared.database import postgres_server
from shared.database.database import Database
from shared.errors import Misconfigured, Unavailable
from shared.settings import AccessSettings, Settings
from shared.testing import processes
from shared.testing.stack import free_port

KINORA = str(Path(sys.executable).with_name("kinora"))
CONFIGURATION, RUNTIME = 2, 1


def damaged_database(home: Path) -> dict[str, str]:
    Database(Settings(state_dir=home / "state")).start().stop()
    (home / "state" / "postgres" / "global" / "pg_control").write_bytes(b"")
    return {}


def planted_link(home: Path) -> dict[str, str]:
    (home / "state").mkdir()
    (home / "state" / "postgres").symlink_to("/etc")
    return {}


def read_only_home(home: Path) -> dict[str, str]:
    (home / "file").touch()  # root may write wherever there is a folder
    return {"HOME": str(home / "file")}


def read_only_state(home: Path) -> dict[str, str]:
    (home / "file").touch()
    return {"KINORA_STATE_DIR": str(home / "file" / "state")}


def unmounted_state(_home: Path) -> dict[str, str]:
    return {"KINORA_STATE_REQUIRED": "true"}


@pytest.mark.parametrize(
    ("arrange", "status", "words"),
    [
        (damaged_database, RUNTIME, ["did not start", "pg_control", "state/postgres/log"]),
        (planted_link, CONFIGURATION, ["is a link", "KINORA_STATE_DIR"]),
        (read_only_home, CONFIGURATION, ["Not a directory", "BENTOML_HOME"]),
        (read_only_state, CONFIGURATION, ["KINORA_STATE_DIR", "Not a directory"]),
        (unmounted_state, CONFIGURATION, ["no database", "KINORA_STATE_REQUIRED"]),
    ],
)
def test_what_is_in_the_way_is_one_sentence(
    tmp_path: Path, arrange: Callable[[Path], dict[str, str]], status: int, words: list[str]
) -> None:
    changes = {"KINORA_PORT": str(free_port()), "KINORA_STATE_DIR": str(tmp_path / "state")} | arrange(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "BENTOML_HOME"} | changes
    ended = subprocess.run(
        [KINORA, "serve"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout) == (status, "")
    [sentence] = ended.stderr.splitlines()
    assert [word for word in words if word not in sentence] == []


def test_a_port_that_somebody_else_has_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup_checks, "PORT_SECONDS", 0.3)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings(state_dir=tmp_path / "state", access=AccessSettings(port=other.getsockname()[1]))
        with pytest.raises(Unavailable, match=r"in use.*KINORA_PORT") as caught:
            check_startup(settings, "127.0.0.1")
    assert not isinstance(caught.value, Misconfigured)
    assert not (tmp_path / "state").exists()
    check_startup(settings, "127.0.0.1")
    assert (tmp_path / "state" / "postgres" / "PG_VERSION").exists()
    assert not (tmp_path / "state" / "postgres" / "postmaster.pid").exists()


def test_an_address_that_is_not_ours_is_named(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", access=AccessSettings(port=free_port()))
    with pytest.raises(Misconfigured, match=r"203\.0\.113\.7 port"):
        check_startup(settings, "203.0.113.7")


def test_a_server_that_still_recovers_is_waited_for_by_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state_dir=tmp_path / "state", access=AccessSettings(port=free_port()))
    database = Database(settings).start()
    pid_file = tmp_path / "state" / "postgres" / "postmaster.pid"
    whole = pid_file.read_text()
    pid = int(whole.split()[0])
    monkeypatch.setattr(postgres_server, "START_SECONDS", 0.3)
    with processes.suspended(pid):
        pid_file.write_text(whole.replace("ready", "starting"))
        with pytest.raises(Unavailable, match="still starting"):
            Database(settings).start()
        check_startup(settings, "127.0.0.1")
        assert processes.live(pid)
        pid_file.write_text(whole)
    database.stop()
    os.kill(pid, signal.SIGINT)  # who could not wait is still among its users, until `kinora serve` becomes BentoML
