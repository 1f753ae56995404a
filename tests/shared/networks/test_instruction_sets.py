"""What the tests of the networks hold is held on every processor: those with fewer instructions are imitated here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NETWORKS = (
    "tests/shared/networks/test_upscaler.py",
    "tests/shared/networks/test_rife.py",
    "tests/shared/networks/test_interpolator.py",
    "tests/services/creation/wan/test_generator.py",
    "tests/services/creation/wan/test_draft.py",
)
PICTURES = (
    "tests/services/creation/test_effects.py",
    "tests/services/creation/wan/test_camera_motion.py",
    "tests/services/facefusion/test_classic.py",
    "tests/services/facefusion/neural/test_swap.py",
    "tests/services/facefusion/test_landmarks.py",
    "tests/services/facefusion/test_occlusion.py",
    "tests/shared/media/test_shot_boundary.py",
)
# The most that oneDNN, ATen and, at the lowest step, OpenCV may use; what this machine lacks is not used anyway.
STEPS = {
    "avx2": (
        {
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "ATEN_CPU_CAPABILITY": "avx2",
            "OPENCV_CPU_DISABLE": "AVX512-SKX",
            "OPENCV_IPP": "avx2",
        },
        (*NETWORKS, *PICTURES),
    ),
    "avx512": ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512"}, NETWORKS),
    "avx512_bf16": ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "ATEN_CPU_CAPABILITY": "avx512"}, NETWORKS),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("step", STEPS)
def test_what_networks_compute_holds_with_fewer_instructions(step: str, tmp_path: Path) -> None:
    environment, files = STEPS[step]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not needs_gpu"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "tests")]
    ran = subprocess.run(
        [*command, *files], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
