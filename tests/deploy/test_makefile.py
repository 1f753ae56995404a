"""`make setup`: which build of torch it installs, and that another one never stays by mistake. All by dry runs."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy import pins

ROOT = Path(__file__).parents[2]
CPU_WHEELS = "--no-deps --index-url https://download.pytorch.org/whl/cpu torch"
SUGGESTION = "with TORCH=cpu it is 3 GB"
# What the make that runs these tests hands down.
INHERITED = {"TORCH", "VENV", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"}


def make(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in INHERITED}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def dry_run(target: str, venv: Path, *variables: str) -> str:
    """Return the commands that make would run."""
    return make("--dry-run", target, f"VENV={venv}", *variables)


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return tmp_path / "venv"


def build(venv: Path, torch: str, *, finished: bool = True) -> None:
    """Leave what a set-up leaves, or one that was interrupted."""
    venv.mkdir()
    (venv / ".torch").write_text(f"{torch}\n")
    if finished:
        (venv / ".ready").touch()


def test_torch_for_the_cpu_comes_from_pytorchs_index_and_everything_else_from_where_it_always_comes(venv: Path) -> None:
    first, second, alone = [line for line in dry_run("setup", venv, "TORCH=cpu").splitlines() if "pip install" in line]
    assert first.endswith(CPU_WHEELS)
    assert "--index-url" not in second + alone
    assert alone.endswith("--no-deps insightface")  # its dependencies would bring a second OpenCV
    assert all("--constraint requirements.lock" in line for line in (first, second, alone))


def test_without_a_word_torch_is_pypis(venv: Path) -> None:
    commands = dry_run("setup", venv)
    assert "--index-url" not in commands
    assert "--clear" not in commands


def test_the_pins_take_pytorchs_builds_for_the_cpu() -> None:
    """Theirs are called 2.13.0+cpu: a pin without a local version takes every local version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [line for extra in project["optional-dependencies"].values() for line in extra]
    lines.append(pins.locked((ROOT / "requirements.lock").read_text(encoding="utf-8"))["torch"])
    wanted = [Requirement(line) for line in lines if line.startswith("torch==")]
    assert len(wanted) > 1
    [version] = {str(pin.specifier).removeprefix("==") for pin in wanted}
    assert all(pin.specifier.contains(f"{version}+cpu") for pin in wanted)


@pytest.mark.parametrize(("here", "asked"), [("pypi", "cpu"), ("cpu", "pypi")])
@pytest.mark.parametrize("finished", [True, False])
def test_another_build_begins_with_an_empty_environment(venv: Path, here: str, asked: str, *, finished: bool) -> None:
    build(venv, here, finished=finished)
    commands = dry_run("demo", venv, f"TORCH={asked}")
    assert f"-m venv --clear {venv}" in commands
    assert f"echo {asked} > {venv}/.torch" in commands
    assert (CPU_WHEELS in commands) == (asked == "cpu")


def test_an_environment_of_an_unknown_build_is_not_trusted(venv: Path) -> None:
    venv.mkdir()
    (venv / ".ready").touch()
    assert "--clear" in dry_run("setup", venv, "TORCH=cpu")


@pytest.mark.parametrize("here", ["cpu", "pypi"])
def test_an_environment_keeps_its_build(venv: Path, here: str) -> None:
    build(venv, here)
    assert "Nothing to be done" in dry_run("setup", venv)
    assert "Nothing to be done" in dry_run("setup", venv, f"TORCH={here}")
    (venv / ".ready").unlink()  # as after a new pin
    commands = dry_run("setup", venv)
    assert f"echo {here} > {venv}/.torch" in commands
    assert (CPU_WHEELS in commands) == (here == "cpu")
    assert "--clear" not in commands


def test_a_machine_without_an_nvidia_gpu_is_told_of_the_smaller_build(venv: Path, tmp_path: Path) -> None:
    without = f"NVIDIA={tmp_path / 'nothing'}"
    assert SUGGESTION in dry_run("setup", venv, without)
    assert SUGGESTION not in dry_run("setup", venv, f"NVIDIA={tmp_path}")
    assert SUGGESTION not in dry_run("setup", venv, without, "TORCH=pypi")
    assert SUGGESTION not in dry_run("setup", venv, without, "TORCH=cpu")


def test_a_build_that_nobody_knows_is_refused(venv: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        dry_run("setup", venv, "TORCH=gpu")
    assert "write TORCH=cpu or TORCH=pypi" in refused.value.stderr


def test_the_help_names_both_builds(venv: Path) -> None:
    assert "6 GB, or 3 GB with TORCH=cpu (TORCH=pypi changes back)" in make("help", f"VENV={venv}")
