"""`kinora run`: the same task without any server."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.clips import write_clip

KINORA = str(Path(sys.executable).with_name("kinora"))


def kinora(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"KINORA_STATE_DIR": str(folder / "state"), "KINORA_PRESET": "ultrafast"}
    return subprocess.run(
        [KINORA, "run", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
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
