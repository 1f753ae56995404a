"""A service is not ready while its state folder takes nothing, and says why."""

import asyncio
import logging
from pathlib import Path

import pytest

from shared.serving.state_room import StateRoom
from shared.tasks import workspace


def test_a_folder_with_room_is_no_problem_and_stays_empty(tmp_path: Path) -> None:
    room = StateRoom(tmp_path)
    asyncio.run(room.look())
    assert room.problem == ""
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_once_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room = StateRoom(tmp_path)
    reserve = workspace.RESERVE_BYTES
    caplog.set_level(logging.INFO, "bentoml")
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    for need in (1 << 62, 1 << 62, reserve, reserve):
        monkeypatch.setattr(workspace, "RESERVE_BYTES", need)
        asyncio.run(room.look())
        assert bool(room.problem) == (need > reserve)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "MiB" in said[0]
    assert said[1] == "the state folder takes files again"


def test_a_folder_that_takes_no_file_is_a_problem_though_the_disk_has_room(tmp_path: Path) -> None:
    (tmp_path / "state" / ".room").mkdir(parents=True)
    room = StateRoom(tmp_path / "state")
    asyncio.run(room.look())
    assert room.problem.startswith(f"{tmp_path / 'state'}: ")
