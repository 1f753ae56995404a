"""What a test may need of its machine: the markers that say so, and why one cannot run here."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.swaps import gateways

NVIDIA = Path("/dev/nvidia0")


@dataclass(frozen=True)
class Requirement:
    """`missing` returns why this machine cannot run such a test, nothing when it can."""

    meaning: str
    missing: Callable[[], str]
    installable: bool = True  # no package is a GPU


def unmet(item: pytest.Item) -> str:
    """Return why this machine cannot run a test; an empty string when it can."""
    needed = (one for name, one in REQUIREMENTS.items() if item.get_closest_marker(name))
    return next((reason for one in needed if (reason := one.missing())), "")


def is_about_hardware(item: pytest.Item) -> bool:
    """Whether no package would make a skipped test run."""
    return any(item.get_closest_marker(name) for name, one in REQUIREMENTS.items() if not one.installable)


def _no_gpu() -> str:
    return "" if NVIDIA.exists() else "no CUDA device here"


def _gpu() -> str:
    return "there is a CUDA device here" if NVIDIA.exists() else ""


def _not_root() -> str:
    return "" if os.geteuid() == 0 else "mounting a small file system needs root"


def _no_netns() -> str:
    if os.geteuid() != 0 or not shutil.which("ip"):
        return "network namespaces need root and iproute2"
    probe = f"kinora{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "network namespaces are not allowed here"
    subprocess.run(["ip", "netns", "delete", probe], check=True)
    return ""


def _no_prometheus() -> str:
    return "" if shutil.which("prometheus") and shutil.which("promtool") else "no prometheus or no promtool here"


def _no_go() -> str:
    return "" if shutil.which("go") else "no Go toolchain here"


def _no_gateways() -> str:
    return " and ".join(f"no {name}" for name in gateways.missing()) + " here" if gateways.missing() else ""


def _no_buildah() -> str:
    missing = [name for name in ("buildah", "mmdebstrap") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        return f"building images needs root, {' and '.join(missing) or 'buildah and mmdebstrap'}"
    return ""


def _no_tini() -> str:
    return "" if os.geteuid() == 0 and shutil.which("tini") and shutil.which("unshare") else "no tini here, or no root"


def _no_otlp() -> str:
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    return "" if found else "kinora[tracing] is not installed here"


def _no_chromium() -> str:
    return "" if shutil.which("chromium") else "no Chromium here"


def _no_kubectl() -> str:
    return "" if shutil.which("kubectl") else "no kubectl here"


REQUIREMENTS = {
    "needs_gpu": Requirement("runs only where CUDA is", _no_gpu, installable=False),
    "needs_no_gpu": Requirement("runs only where CUDA is not", _gpu, installable=False),
    "needs_root": Requirement("runs only as root (it mounts a small file system)", _not_root),
    "needs_go": Requirement("runs only where the Go toolchain is", _no_go),
    "needs_prometheus": Requirement("runs only where prometheus and promtool are", _no_prometheus),
    "needs_gateways": Requirement("runs only where nginx and HAProxy are installed", _no_gateways),
    "needs_netns": Requirement("runs only where network namespaces can be made (root and iproute2)", _no_netns),
    "needs_buildah": Requirement("runs only as root where buildah and mmdebstrap are (it builds images)", _no_buildah),
    "needs_tini": Requirement("runs only as root where tini is (it makes a container's process namespace)", _no_tini),
    "needs_otlp": Requirement("runs only where the exporter of kinora[tracing] is", _no_otlp),
    "needs_chromium": Requirement("runs only where Chromium is", _no_chromium),
    "needs_kubectl": Requirement("runs only where kubectl is (it puts the manifests together)", _no_kubectl),
}
