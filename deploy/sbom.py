"""`python -m deploy.sbom IMAGE`: what a built image contains, as a CycloneDX 1.6 document.

cyclonedx-py describes the Python distributions. Added are the libraries inside their wheels with their licences
(`bundled.toml`), the models with those of the catalogue, and the packages of the base with their versions, whose
licences stand in the image's `/usr/share/doc/NAME/copyright`.
"""

import argparse
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from email.parser import Parser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from shared import weights

Component = dict[str, Any]
BUNDLED = Path(__file__).parent / "bundled.toml"
SCHEMA = "1.6"
SECONDS = 300
# Everything that says what is installed, and nothing of it.
INVENTORY = (
    "var/lib/dpkg/status",
    "usr/lib/os-release",
    "home/bentoml/bento/bento.yaml",
    "app/.venv/lib/*/site-packages/*.dist-info",
)
LIBRARY = re.compile(r"^[^/]+\.libs/lib(?P<name>.+?)(?:-[0-9a-f]{8})*(?:\.[\d.]+)?\.so[\w.]*,", re.MULTILINE)


def bill(root: Path, image: str) -> dict[str, Any]:
    """Return the document of an image, of which `root` has the files that INVENTORY names."""
    [packages] = root.glob("app/.venv/lib/*/site-packages")
    document = _distributions(packages)
    libraries = dict(bundled(packages))
    for component in document["components"]:
        if inside := libraries.get(canonicalize_name(component["name"])):
            component["components"] = inside
    bento = yaml.safe_load((root / "home/bentoml/bento/bento.yaml").read_text(encoding="utf-8"))
    document["components"] += [*models(bento), *system_packages(root)]
    name, _, tag = image.rpartition(":")
    document["metadata"]["component"] = {
        "bom-ref": "image", "type": "container", "name": name, "version": tag,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }  # fmt: skip
    return document


def bundled(packages: Path) -> Iterator[tuple[str, list[Component]]]:
    """Yield each distribution that brings libraries along, with a component for each of them.

    Raises LookupError for one whose licence nobody has written down.
    """
    licences = tomllib.loads(BUNDLED.read_text(encoding="utf-8"))
    for record in sorted(packages.glob("*.dist-info/RECORD")):
        owner = canonicalize_name(record.parent.name.partition("-")[0])
        names = sorted(set(LIBRARY.findall(record.read_text(encoding="utf-8"))))
        if missing := set(names) - set(licences.get(owner, {})):
            raise LookupError(f"{BUNDLED.name} has no licence for {', '.join(sorted(missing))} in {owner}")
        if names:
            yield owner, [_component("library", f"{owner}/{name}", name, licences[owner][name]) for name in names]


def models(bento: dict[str, Any]) -> Iterator[Component]:
    """Yield the models that a bento declares, under the licences of the catalogue."""
    licence = {entry.tag: entry.licence for entry in weights.entries().values()}
    for model in bento.get("models", ()):
        name, _, version = str(model["tag"]).partition(":")
        yield _component("machine-learning-model", f"model/{name}", name, licence.get(model["tag"], "unstated")) | {
            "version": version
        }


def system_packages(root: Path) -> Iterator[Component]:
    """Yield the packages of the distribution that the base image is."""
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', (root / "usr/lib/os-release").read_text(), re.MULTILINE))
    for entry in (root / "var/lib/dpkg/status").read_text(encoding="utf-8").strip().split("\n\n"):
        fields = Parser().parsestr(entry)
        name, version = fields["Package"], quote(fields["Version"], safe="+.~-")
        place = f"arch={fields['Architecture']}&distro={system['ID']}-{system['VERSION_ID']}"
        yield {
            "bom-ref": f"system/{name}", "type": "library", "name": name, "version": fields["Version"],
            "purl": f"pkg:deb/{system['ID']}/{quote(name)}@{version}?{place}",
        }  # fmt: skip


def _component(kind: str, reference: str, name: str, licence: str) -> Component:
    try:
        licences: list[Component] = [{"expression": canonicalize_license_expression(licence)}]
    except InvalidLicenseExpression:  # of weights: some have terms of their own
        licences = [{"license": {"name": licence}}]
    return {"bom-ref": reference, "type": kind, "name": name, "licenses": licences}


def _distributions(packages: Path) -> dict[str, Any]:
    """Describe the distributions whose metadata lies in a folder, by way of an environment that has nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, symlinks=True, with_pip=False)
        site = Path(sysconfig.get_path("purelib", "venv", {"base": folder}))
        site.rmdir()
        site.symlink_to(packages)
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--sv", SCHEMA, folder]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
    document: dict[str, Any] = json.loads(printed)
    return document


def read_inventory(engine: str, image: str, root: Path) -> None:
    """Copy the files that INVENTORY names out of an image, with whatever engine has it."""
    script = f"cd / && exec tar --create {' '.join(INVENTORY)}"
    if engine == "buildah":
        container = _output("buildah", "from", "--pull-never", image).decode().strip()
        try:
            packed = _output("buildah", "run", container, "--", "sh", "-c", script)
        finally:
            _output("buildah", "rm", container)
    else:
        packed = _output(engine, "run", "--rm", "--entrypoint", "sh", image, "-c", script)
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(root, filter="data")


def _output(*command: str) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=SECONDS).stdout


def main() -> None:
    """Write the document of one image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="NAME:TAG")
    parser.add_argument("--engine", default="docker")
    parser.add_argument("--output", type=Path, required=True)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        read_inventory(wanted.engine, wanted.image, Path(folder))
        document = bill(Path(folder), wanted.image)
    wanted.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
