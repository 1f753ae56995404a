"""buildah with storage of its own: images are built and run without a daemon, and nothing of the machine changes.

Steps and containers are isolated by chroot alone: they have the network and the processes of the machine, and no other
runtime is needed. Needs root.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BUILD_SECONDS = 3000
COMMAND_SECONDS = 600
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{0}/graph"\nrunroot = "{0}/run"\n'
IN_USER_SPACE = '[storage.options.overlay]\nmount_program = "/usr/bin/fuse-overlayfs"\n'
REGISTRIES = 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n'
DEFAULTS = "[containers]\nvolumes = {}\n"


@dataclass(frozen=True)
class Layer:
    """What one step of a build added: `size` in bytes without compression, and where its files lie."""

    id: str
    size: int
    files: Path


class Engine:
    """Images and containers in a folder, which is gone after the `with` block."""

    def __init__(self, home: Path) -> None:
        self._home = home
        for folder in ("tmp", "graph", "run"):
            (home / folder).mkdir(parents=True)
        asked = subprocess.run(["stat", "-f", "-c", "%T", home], capture_output=True, text=True, check=True)
        # The kernel lays no overlay over another one, which is what a container's own file system is.
        more = IN_USER_SPACE if asked.stdout.strip() == "overlayfs" else ""
        (home / "storage.conf").write_text(STORAGE.format(home) + more)
        (home / "registries.conf").write_text(REGISTRIES)
        self.lend({})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the storage; a build or a container that was killed leaves its file systems mounted."""
        for line in reversed(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()):
            if (point := line.split()[1]).startswith(f"{self._home}/"):
                subprocess.run(["umount", "--lazy", point], check=False, timeout=60)
        shutil.rmtree(self._home)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which a program uses this engine's storage through buildah."""
        return os.environ | {
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_CONF": str(self._home / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self._home / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(self._home / "storage.conf"),
            "TMPDIR": str(self._home / "tmp"),
        }

    def lend(self, volumes: Mapping[Path, str]) -> None:
        """From now on let every step of a build see these folders at these places, which no image keeps."""
        mounted = [f"{here}:{there}:ro" for here, there in volumes.items()]
        (self._home / "containers.conf").write_text(DEFAULTS.format(json.dumps(mounted)))

    def call(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run buildah and return what it prints; AssertionError shows its errors."""
        done = subprocess.run(
            ["buildah", *arguments], env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"buildah {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def build(self, folder: Path, *names: str) -> None:
        """Build the Dockerfile of a folder under these names."""
        tags = [word for name in names for word in ("--tag", name)]
        self.call("build", "--format", "docker", *tags, str(folder), seconds=BUILD_SECONDS)

    def config(self, image: str) -> dict[str, Any]:
        """Return the image's configuration in Docker's format: Env, User, Entrypoint, Healthcheck and so on."""
        found: dict[str, Any] = json.loads(self.call("inspect", "--type", "image", image))["Docker"]["config"]
        return found

    def names(self) -> dict[str, str]:
        """Return the full names of all images, each with its topmost layer."""
        images = self._home / "graph" / "overlay-images" / "images.json"
        return {name: entry["layer"] for entry in json.loads(images.read_text()) for name in entry.get("names") or ()}

    def layers(self, image: str) -> list[Layer]:
        """Return the layers of an image that was built here, the base's first."""
        graph = self._home / "graph"
        known = {entry["id"]: entry for entry in json.loads((graph / "overlay-layers" / "layers.json").read_text())}
        found: list[Layer] = []
        top = self.names()[f"localhost/{image}"]
        while top:
            entry = known[top]
            found.insert(0, Layer(top, entry.get("diff-size", 0), graph / "overlay" / top / "diff"))
            top = entry.get("parent", "")
        return found


@dataclass(frozen=True)
class BuiltImage:
    """An image that the engine has, to be launched as an operator does: with settings and mounted folders."""

    engine: Engine
    image: str  # NAME:TAG
    volumes: Mapping[Path, str]  # a folder here -> where the container sees it

    @property
    def name(self) -> str:
        return self.image

    def invocation(self, settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return a command that runs a new container as the image's user, and the command's environment."""
        container = self.engine.call("from", "--pull-never", self.image).strip()
        volumes = [word for here, there in self.volumes.items() for word in ("--volume", f"{here}:{there}")]
        variables = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
        entrypoint = self.engine.config(self.image)["Entrypoint"]
        return ["buildah", "run", *volumes, *variables, container, "--", *entrypoint], self.engine.environment
