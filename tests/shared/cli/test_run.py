"""`kinora run`: the same task without any server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.clips import write_clip
from tests.support.terminal import CTRL_C, on_terminal

KINORA = str(Path(sys.executable).with_name("kinora"))


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"KINORA_STATE_DIR": str(folder / "state"), "KINORA_PRESET": "ultrafast"}


def kinora(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [KINORA, "run", *words], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip


def test_a_task_runs_here_and_prints_its_result(tmp_path: Path) -> None:
    write_clip(tmp_path / "film.mp4", size=(48, 32), frames=6)
    ended = kinora(tmp_path, "upscale", "film.mp4", "--ratio", "2", "--out", "new/folder")
    assert ended.returncode == 0, ended.stderr
    result = Path(ended.stdout.strip())
    assert result.parent == tmp_path / "new" / "folder"
    assert [path.name for path in result.parent.iterdir()] == [result.name]


def test_a_file_that_is_no_video_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("no film")
    ended = kinora(tmp_path, "interpo", "film.mp4", "--rate", "2", "--out", "out")
    assert ended.returncode == 1
    assert "film.mp4" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["c\r", CTRL_C])
def test_ctrl_c_asks_and_a_cancelled_task_leaves_nothing(tmp_path: Path, answer: str) -> None:
    write_clip(tmp_path / "film.mp4", size=(320, 240), frames=1500)
    words = ("run", "upscale", "film.mp4", "--ratio", "2", "--out", "out")
    with on_terminal(KINORA, *words, environment=environment(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for(" left")  # it works on the film
        terminal.press(CTRL_C)
        terminal.wait_for("go on?")
        terminal.press(answer)
        ended = terminal.end()
    assert ended == (130, "")
    assert "nothing was left behind" in terminal.shown
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_task_goes_on_to_its_end_when_that_is_the_answer(tmp_path: Path) -> None:
    write_clip(tmp_path / "film.mp4", size=(96, 64), frames=250)
    words = ("run", "upscale", "film.mp4", "--ratio", "2", "--out", "out")
    with on_terminal(KINORA, *words, environment=environment(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("upscale")
        terminal.press(CTRL_C)
        terminal.wait_for("go on?")
        terminal.press("g\r")
        code, printed = terminal.end()
    assert code == 0, terminal.shown
    assert Path(printed.strip()).is_file()
