"""Bentos as a deployment meets them: laid out as in their image, served from there, in an environment that holds the
distributions which they declare and nothing else. No container engine is needed, and nothing is downloaded."""

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import bentoml

# Private, but what `bentoml containerize` builds from: the very folder that a container engine would get.
from bentoml._internal.container import construct_containerfile
from packaging.requirements import Requirement

SITE = Path(sysconfig.get_path("purelib"))


@dataclass(frozen=True)
class Image:
    """The file system of an image as far as it differs from its base: `home` stands for /home/bentoml."""

    name: str
    home: Path
    dockerfile: str

    @property
    def sources(self) -> Path:
        return self.home / "bento" / "src"

    @property
    def files(self) -> set[str]:
        """Return what the bento carries of the checkout, relative to it."""
        found = (path for path in self.sources.rglob("*") if path.is_file())
        return {str(path.relative_to(self.sources)) for path in found}

    @property
    def requirements(self) -> str:
        return (self.home / "bento" / "env" / "python" / "requirements.txt").read_text(encoding="utf-8")

    @property
    def distributions(self) -> set[str]:
        """Return the names of everything that it installs."""
        return {Requirement(line).name.lower() for line in pinned(self.requirements)}

    @property
    def environment(self) -> dict[str, str]:
        """Return what its ENV lines set, as `/home/bentoml` has it."""
        return dict(re.findall(r"^ENV (\w+)=([^$\s]+)$", self.dockerfile, re.MULTILINE)) | dict(
            re.findall(r"^ARG (KINORA_\w+|BENTOML_\w+|NVIDIA_\w+)=(\S+)$", self.dockerfile, re.MULTILINE)
        )


def unpack(bento: Path, folder: Path) -> Image:
    """Lay a built bento out as its image has it: the build context copied, and the link that the Dockerfile makes."""
    home = folder / "home"
    built = bentoml.Bento.from_path(bento)
    # From the temporary folder, as `make containerize`, which says why.
    with chdir(tempfile.gettempdir()), construct_containerfile(built, enable_buildkit=False) as (context, dockerfile):
        shutil.copytree(context, home / "bento", symlinks=True)
        text = Path(dockerfile).read_text(encoding="utf-8")
    (home / "models").symlink_to(home / "bento" / "models")
    return Image(bento.parent.name, home, text)


def pinned(requirements: str) -> list[str]:
    """Return the lines of a requirements file that name something."""
    return [line for line in requirements.splitlines() if line and not line.startswith("#")]


def fresh_environment(folder: Path, requirements: str) -> Path:
    """Make a virtual environment of exactly these pinned distributions; return its `bin`.

    Their files are linked from the environment of the tests, as each one's RECORD lists them. What is installed here
    but not declared is therefore missing there, as it would be in the image.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    commands = folder / "bin"
    site = folder / SITE.relative_to(sys.prefix)
    for line in pinned(requirements):
        wanted = Requirement(line)
        found = distribution(wanted.name)
        assert wanted.specifier.contains(found.version.partition("+")[0]), f"{line}, but {found.version} is here"
        _link(found, site)
        _write_commands(found, commands)
    return commands


def _link(found: Distribution, site: Path) -> None:
    for file in found.files or ():
        source = Path(str(file.locate()))
        target = site / file
        if ".." in file.parts or target.exists() or not source.exists():  # a command's first line names another Python
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)


def _write_commands(found: Distribution, folder: Path) -> None:
    for entry in found.entry_points.select(group="console_scripts"):
        script = folder / entry.name
        top = entry.attr.partition(".")[0]
        script.write_text(
            f"#!{folder / 'python'}\nimport sys\nfrom {entry.module} import {top}\nsys.exit({entry.attr}())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)


@dataclass(frozen=True)
class UnpackedImage:
    """An image without a container: its entrypoint runs in the file system of this machine.

    `wrapper` is what the image has before its entrypoint, in a namespace of processes where it is number 1.
    """

    image: Image
    commands: Path  # of its environment
    wrapper: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.image.name

    def invocation(self, settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return the entrypoint with what stands before it, and the environment that the image would have."""
        entrypoint = self.image.home / "bento" / "env" / "docker" / "entrypoint.sh"
        environment = self.image.environment | {
            "PATH": f"{self.commands}:/usr/local/bin:/usr/bin:/bin",
            "VIRTUAL_ENV": str(self.commands.parent),
            "HOME": str(self.image.home),
            "BENTO_PATH": str(self.image.home / "bento"),
            "BENTOML_HOME": f"{self.image.home}/",
            **settings,
        }
        return [*self.wrapper, "bash", str(entrypoint)], environment
