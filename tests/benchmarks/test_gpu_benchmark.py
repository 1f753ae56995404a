"""The benchmark for a GPU runs from end to end with the packages of a bare image, and keeps what it has measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from shared import weights

ROOT = Path(__file__).parents[2]
MISSING = (
    "bentoml",
    "pydantic",
    "psutil",
    "av",
    "cv2",
    "diffusers",
    "transformers",
    "procrastinate",
    "httpx",
    "triton",
)
BLOCKER = f"""
import sys
sys.modules.update(dict.fromkeys({MISSING!r}))  # for `import` and `find_spec` they are not there
"""


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the benchmark where nothing but torch, numpy, safetensors and the standard library can be imported."""
    (folder / "sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", f"--results={folder}", *options]
    paths = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )


@pytest.mark.slow
@pytest.mark.needs_no_gpu
def test_a_bare_image_measures_everything_but_wan(tmp_path: Path) -> None:
    for name in ("realesr-animevideov3", "realesrgan-x4plus-anime", "rife-4.0"):
        save_file(weights.load_safetensors(name), tmp_path / f"{name}.safetensors")
    run(tmp_path, f"--weights={tmp_path}", "--parts", "peak", "upscaling", "wan-1.3b")
    run(tmp_path, f"--weights={tmp_path}", "--parts", "interpolation")
    report = json.loads((tmp_path / "gpu-no-gpu.json").read_text(encoding="utf-8"))
    whats = " ".join(row[0] for row in report["rows"])
    for what in ("matrix product", "animevideov3: network alone", "x4plus (random weights)", "RIFE 4.0 refined, 96x64"):
        assert what in whats
    (refused,) = report["figures"]["rows"]["wan-1.3b"]
    assert refused[1].startswith("ModuleNotFoundError: import of diffusers")
    for network in ("realesr-animevideov3", "realesrgan-x4plus-anime", "rife"):
        assert report["figures"][f"{network}_db"] > 100
