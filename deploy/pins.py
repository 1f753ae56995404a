"""Write `deploy/NAME/requirements.txt`: what one image installs, every distribution of it pinned.

The closure of the service's extra in pyproject.toml, as the installed distributions declare it, with the versions of
requirements.lock. `make pins` writes the files; a test holds that they are what this would write.
"""

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# Image -> the extras of its service, what sends spans and stores results; the personal edition has everything in one.
IMAGES: dict[str, tuple[str, ...]] = {
    "router": ("tracing",),
    "creation": ("creation", "tracing", "s3"),
    "facefusion": ("facefusion", "tracing", "s3"),
    "interpo": ("interpo", "tracing", "s3"),
    "upscale": ("upscale", "tracing", "s3"),
    "personal": ("all",),
}
HEADER = "# Written by deploy/pins.py (`make pins`) from pyproject.toml and requirements.lock: do not edit.\n"


def requirements(image: str) -> str:
    """Return the text of an image's requirements file: one pinned distribution a line, sorted."""
    pins = locked((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    names = closure(declared(IMAGES[image]))
    missing = sorted(name for name in names if name not in pins)
    if missing:
        raise LookupError(f"requirements.lock pins no {', '.join(missing)}")
    return HEADER + "".join(f"{pins[name]}\n" for name in sorted(names))


def locked(text: str) -> dict[str, str]:
    """Return the lines of a lock file by canonical name."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(line.partition("==")[0]): line for line in lines}


def declared(extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for: the core, and the extras with those that they refer to."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in project["dependencies"]:
        yield Requirement(line)
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            wanted = Requirement(line)
            if wanted.name == project["name"]:
                yield from declared(wanted.extras)
            else:
                yield wanted


def closure(wanted: Iterable[Requirement]) -> set[str]:
    """Return the canonical names of everything that gets installed, found in the installed distributions' metadata."""
    seen: set[tuple[str, str]] = set()
    waiting = list(wanted)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = [Requirement(line) for line in requires(name) or ()]
                waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def main() -> None:
    """Write the files of all images."""
    for image in IMAGES:
        (ROOT / "deploy" / image / "requirements.txt").write_text(requirements(image), encoding="utf-8")


if __name__ == "__main__":
    main()
