"""The demo is what a newcomer sees first: it works as it is, and it never says that all is well when it is not."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from shared.cli import demo
from shared.demo import sheet, tasks
from shared.demo.clips import excerpt, facts

KINORA = Path(sys.executable).with_name("kinora")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_ends_well_with_a_table_results_and_a_contact_sheet(tmp_path: Path) -> None:
    ran = subprocess.run(
        [KINORA, "demo", "--only", "upscale", "--out", tmp_path / "demo"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Upscale 4x" in ran.stdout
    assert "1280x720, 50 frames, 25 fps, aac" in " ".join(ran.stdout.split())
    [task] = json.loads((tmp_path / "demo" / "results.json").read_text())["tasks"]
    assert task["callback"]["err_code"] == 0
    assert (task["result"]["width"], task["result"]["height"], task["result"]["frames"]) == (1280, 720, 50)
    with Image.open(tmp_path / "demo" / "contact_sheet.png") as picture:
        assert picture.width == sheet.WIDTH


def test_a_refused_task_ends_the_demo_with_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", [replace(tasks.TASKS[0], fields={"ratio": 5})])
    assert demo.show(tmp_path / "demo", {"upscale"}) is False
    [task] = json.loads((tmp_path / "demo" / "results.json").read_text())["tasks"]
    assert "ratio" in task["callback"]["err_msg"]


def test_what_this_machine_has_no_model_for_stands_in_the_table_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "TASKS", [task for task in tasks.TASKS if task.optional])
    monkeypatch.setattr(demo, "console", Console(width=300))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))  # an empty store, whatever was pulled here
    assert demo.show(tmp_path / "demo", {"creation"}) is True
    shown = capsys.readouterr().out
    assert "not here" in shown
    assert "kinora weights pull wan-" in shown
    [task] = json.loads((tmp_path / "demo" / "results.json").read_text())["tasks"]
    assert task["request"]["category"] == 1
    assert task["callback"] is None
    assert task["answer"]["err_code"] == -1


def test_nothing_to_show_is_no_success(tmp_path: Path) -> None:
    assert demo.show(tmp_path / "demo", {"nothing"}) is False


def test_an_excerpt_has_the_asked_length_and_its_sound(clip: Path, tmp_path: Path) -> None:
    cut = facts(excerpt(clip, tmp_path / "cut.mp4", begin=0.25, seconds=0.25, size=(24, 16)))
    assert (cut.width, cut.height, cut.frames, cut.sound) == (24, 16, 6, "aac")


def test_the_busiest_part_of_a_picture_is_found() -> None:
    picture = Image.new("L", (200, 100))
    picture.paste(Image.effect_noise((20, 20), 90), (150, 60))
    left, top, right, bottom = sheet.busiest(picture, (30, 30))
    assert left <= 150
    assert right >= 170
    assert top <= 60
    assert bottom >= 80
