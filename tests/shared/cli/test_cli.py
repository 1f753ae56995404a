"""The `kinora` command: every part's commands are there, and what is not installed says so."""

import importlib
from types import ModuleType

import pytest
from typer.testing import CliRunner

from shared.cli import app


@pytest.mark.parametrize("name", [*app.COMMANDS, *app.GROUPS])
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(app.app, [name, "--help"])
    assert shown.exit_code == 0
    assert "Not available" not in shown.output


def test_a_command_whose_extra_is_missing_says_so_and_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    really = importlib.import_module

    def without_queue(name: str) -> ModuleType:
        if name == "shared.cli.tasks":
            raise ImportError("No module named 'psycopg'")
        return really(name)

    monkeypatch.setattr(app, "import_module", without_queue)
    kinora = app.compose()
    ended = CliRunner().invoke(kinora, ["tasks", "list", "--limit", "3"])
    assert ended.exit_code == 2
    assert "kinora tasks needs more than this installation has: No module named 'psycopg'" in ended.output
    assert CliRunner().invoke(kinora, ["serve", "--help"]).exit_code == 0


def test_the_list_of_weights_reads_well_in_eighty_columns() -> None:
    shown = CliRunner().invoke(app.app, ["weights", "list"], env={"COLUMNS": "80"})
    lines = shown.output.splitlines()
    facts = lines.index(next(line for line in lines if line.startswith("rife-4.0 ")))
    assert lines[facts].split()[1:3] == ["35.0", "MB"]
    assert lines[facts].endswith("MIT")
    assert lines[facts + 1].strip() == "frame interpolation at any instant"
