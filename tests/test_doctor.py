"""The doctor finds what is wrong and says what to do about it."""

from pathlib import Path

import pytest
import typer
from pydantic import SecretStr
from typer.testing import CliRunner

from shared import doctor
from shared.commands.doctor import doctor as command
from shared.doctor import Finding
from shared.receiver import Receiver
from shared.settings import Settings
from shared.stack import free_port


def test_a_sound_installation_is_told_so(tmp_path: Path) -> None:
    with Receiver() as receiver:
        settings = Settings(media_roots=(tmp_path,), state_dir=tmp_path / "state", callback_url=receiver.url)
        findings = list(doctor.examine(settings))
    assert {finding.subject for finding in findings if finding.level == "broken"} == set()
    assert receiver.deliveries == [], "the doctor only knocks"


def test_a_root_that_does_not_exist_is_named_with_its_setting(tmp_path: Path) -> None:
    [finding] = doctor.roots(Settings(media_roots=(tmp_path / "nowhere",)))
    assert finding.level == "broken"
    assert "KINORA_MEDIA_ROOTS" in finding.sentence
    assert "nowhere" in finding.sentence


def test_a_state_folder_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [finding] = doctor.state(Settings(state_dir=tmp_path / "file" / "state"))
    assert (finding.level, "KINORA_STATE_DIR" in finding.sentence) == ("broken", True)


def test_a_database_that_does_not_answer_is_named_with_its_setting() -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    [finding] = doctor.database(Settings(database_url=url))
    assert (finding.level, "KINORA_DATABASE_URL" in finding.sentence) == ("broken", True)


def test_a_silent_backend_is_a_warning_because_callbacks_wait() -> None:
    [finding] = doctor.callback(Settings(callback_url=f"http://127.0.0.1:{free_port()}/api/ai/notify"))
    assert finding.level == "warning"


@pytest.mark.parametrize(("host", "token", "level"), [
    ("127.0.0.1", None, "well"), ("localhost", None, "well"), ("::1", None, "well"),
    ("0.0.0.0", None, "broken"), ("0.0.0.0", "secret", "well"),
])  # fmt: skip
def test_a_door_to_the_network_needs_a_token(host: str, token: str | None, level: str) -> None:
    [finding] = doctor.door(Settings.model_construct(host=host, port=5000, token=SecretStr(token) if token else None))
    assert finding.level == level
    assert "secret" not in finding.sentence


def test_the_command_ends_with_one_when_something_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [lambda _settings: iter([Finding("x", "broken", "call a plumber")])])
    app = typer.Typer()
    app.command()(command)
    outcome = CliRunner().invoke(app)
    assert outcome.exit_code == 1
    assert "call a plumber" in outcome.output


def test_a_setting_that_makes_no_sense_is_named_instead_of_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINORA_CRF", "very good")
    app = typer.Typer()
    app.command()(command)
    outcome = CliRunner().invoke(app)
    assert outcome.exit_code == 1
    assert "KINORA_CRF" in outcome.output
