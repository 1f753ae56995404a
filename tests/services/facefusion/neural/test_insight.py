"""insightface is imported late, says nothing, fetches nothing and leaves the process as it was."""

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import pins
from services.facefusion.neural.insight import open_model
from services.facefusion.neural.render import InSwapper
from services.facefusion.neural.swappers import swappers
from shared.errors import JobFailed, Problem
from tests.support import neural_files

ROOT = Path(__file__).parents[4]
ROW = swappers()["inswapper-128"]
SCRIPT = """
import os, sys
from pathlib import Path
import services.facefusion.model, services.facefusion.pipeline, services.facefusion.preview
assert not {"insightface", "skimage", "scipy"} & set(sys.modules)
before = dict(os.environ)
from services.facefusion.neural.insight import open_model
open_model(Path(sys.argv[1]), "INSwapper")
assert "insightface" in sys.modules
assert dict(os.environ) == before
import cv2
from importlib.metadata import packages_distributions
assert set(packages_distributions()["cv2"]) == {"opencv-python-headless"}
"""


def test_the_classic_swapper_imports_nothing_of_it_and_its_import_leaves_no_trace(tmp_path: Path) -> None:
    path = neural_files.swapper(tmp_path / "inswapper.onnx", ROW)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_what_it_prints_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "services.facefusion.neural.insight"):
        InSwapper(neural_files.swapper(tmp_path / "inswapper.onnx", ROW))
    assert capfd.readouterr().out == ""
    assert "insightface: inswapper-shape: [1, 3, 128, 128]" in caplog.messages


def test_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for a file that is there nor for one that is missing, which insightface would look for on its server."""

    def refuse(*_arguments: object) -> None:
        pytest.fail("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    open_model(neural_files.arcface(tmp_path / "w600k_r50.onnx"), "ArcFaceONNX")
    with pytest.raises(JobFailed, match=r"det_10g\.onnx"):
        open_model(tmp_path / "det_10g.onnx", "SCRFD")


def test_a_network_of_another_kind_is_refused_with_the_files_name(tmp_path: Path) -> None:
    path = neural_files.arcface(tmp_path / "w600k_r50.onnx")
    with pytest.raises(JobFailed, match=r"w600k_r50\.onnx is another network than SCRFD"):
        open_model(path, "SCRFD")


def test_without_the_package_the_sentence_has_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = neural_files.arcface(tmp_path / "w600k_r50.onnx")
    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(JobFailed, match="needs the package insightface"):
        open_model(path, "ArcFaceONNX")
    pinned = pins.locked((ROOT / "requirements.lock").read_text(encoding="utf-8"))["insightface"]
    for language in ("en", "zh"):
        assert f"`pip install --no-deps {pinned}`" in Problem("facefusion_no_insightface").sentence(language)
