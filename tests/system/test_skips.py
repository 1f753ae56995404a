"""A test whose program is missing is skipped and named; where skips are forbidden it fails, unless it is hardware."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS_GO = "tests/deploy/test_go_backend.py::test_its_own_tests_pass"
NEEDS_HARDWARE = "tests/shared/networks/test_interpolator.py::test_cuda_in_half_precision_agrees_with_the_cpu"


def closing_lines(folder: Path, *options: str) -> list[str]:
    """Run these two tests where no program is found; return the last lines."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}", *options]
    ran = subprocess.run(
        [*command, NEEDS_GO, NEEDS_HARDWARE],
        cwd=ROOT, env=os.environ | {"PATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ran.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.needs_no_gpu
def test_a_skip_is_named_and_fails_where_it_is_forbidden_unless_it_is_about_hardware(tmp_path: Path) -> None:
    allowed, forbidden = closing_lines(tmp_path), closing_lines(tmp_path, "--forbid-skips")
    assert allowed[-1] == "0 passed, 0 failed, 2 skipped"
    assert f"NOT TESTED: {NEEDS_GO} (no Go toolchain here)" in allowed
    assert forbidden[-1] == "0 passed, 1 failed, 1 skipped"
    assert f"NOT TESTED: {NEEDS_HARDWARE} (no CUDA device here)" in forbidden
