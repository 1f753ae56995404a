"""What images are built from, made here under the same names, where no registry of images can be reached.

The bases of every image are one minimal Debian with Python, made from this machine's own package sources. uv comes out
of its wheel. What images install comes from a folder of wheels that pip fills as it is set up here. This is for tests:
what the real bases have beside that, such as CUDA, is not in them.
"""

import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from tests.support.engine import Engine

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "Dockerfile.j2"
SECONDS = 900
PACKAGES = ("ca-certificates", "python3-distutils", "python3.11")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
UV = re.compile(r"from=(astral/uv:([\d.]+))")
LENT = "/srv"  # where a step of a build finds wheels, and by a link in the base uv's configuration


def provide_bases(engine: Engine, folder: Path) -> None:
    """Give the engine an image for every one that Dockerfiles begin with or take something from."""
    [(uv, version)] = set(UV.findall(TEMPLATE.read_text(encoding="utf-8")))
    context = folder / "uv"
    _pip("install", "--target", str(context / "wheel"), f"uv=={version}")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY wheel/bin/uv /uv\n")
    engine.build(context, f"docker.io/{uv}")

    context = folder / "debian"
    context.mkdir()
    debian(context / "rootfs.tar")
    (context / "Dockerfile").write_text('FROM scratch\nADD rootfs.tar /\nCMD ["bash"]\n')
    engine.build(context, *(qualified(name) for name in bases()))
    (context / "rootfs.tar").unlink()


def bases() -> set[str]:
    """Return the base images of all bentofiles."""
    files = [ROOT / "bentofile.yaml", *(ROOT / "deploy").glob("*/bentofile.yaml")]
    return {yaml.safe_load(file.read_text(encoding="utf-8"))["docker"]["base_image"] for file in files}


def qualified(name: str) -> str:
    """Return the full name that an engine gives to a short one."""
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def debian(tar: Path) -> None:
    """Write a minimal Debian of this machine's release, from its own sources and with its own settings of apt."""
    folder = tar.parent
    (folder / "acquire.conf").write_text(_run("apt-config", "dump", "Acquire"))
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    hooks = [f'ln --symbolic {LENT} "$1"/etc/uv']
    if CERTIFICATES.exists():
        hooks.append(f"copy-in {CERTIFICATES} {CERTIFICATES.parent}")
    _run(
        "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
        f"--aptopt={folder / 'acquire.conf'}", *(f"--customize-hook={hook}" for hook in hooks),
        release, str(tar), *map(str, sources(release)),
    )  # fmt: skip


def sources(release: str) -> Iterator[Path]:
    """Yield the files in which this machine has its package sources of a release."""
    folder = Path("/etc/apt")
    for file in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        if file.suffix in {".list", ".sources"} and file.is_file() and release in file.read_text(encoding="utf-8"):
            yield file


def provide_wheels(engine: Engine, folder: Path, requirements: Iterable[Path]) -> None:
    """Fill a folder with what the images install, and let every step of a build take it from there alone."""
    folder.mkdir()
    files = [word for file in requirements for word in ("--requirement", str(file))]
    _pip("wheel", "--constraint", str(ROOT / "requirements.lock"), "--wheel-dir", str(folder), *files)
    [runtime] = folder.glob("onnxruntime-*.whl")
    _pip("download", "--no-deps", "--dest", str(folder), f"onnxruntime-gpu=={runtime.name.split('-')[1]}")
    alone = ["--no-deps", "--constraint", str(ROOT / "requirements.lock"), "insightface"]  # gpu.sh
    _pip("wheel", "--wheel-dir", str(folder), *alone)
    (folder / "uv.toml").write_text(f'offline = true\nno-index = true\nfind-links = ["{LENT}"]\n')
    engine.lend({folder: LENT})


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout
