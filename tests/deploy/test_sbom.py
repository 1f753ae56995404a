"""What the bill of materials of an image adds to the metadata of its distributions; `test_images.py` has whole ones."""

import json
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.licenses import canonicalize_license_expression

from deploy import sbom
from shared import weights
from tests.support.image import pinned

ROOT = Path(__file__).parents[2]
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u13
Description: GNU C Library
 with a second line

Package: libstdc++6
Architecture: amd64
Version: 1:12.2.0-14
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metadata of everything that the personal edition installs, which is what all images install together."""
    folder = tmp_path_factory.mktemp("packages")
    for line in pinned((ROOT / "deploy" / "personal" / "requirements.txt").read_text(encoding="utf-8")):
        found = distribution(line.partition("==")[0])
        own = [file for file in found.files or () if len(file.parts) == 2]  # setuptools brings others' within
        [record] = [Path(str(file.locate())) for file in own if file.match("*.dist-info/RECORD")]
        (folder / record.parent.name).symlink_to(record.parent)
    return folder


def test_every_library_in_a_wheel_of_the_images_has_a_licence(installed: Path) -> None:
    """The first of a new wheel ends this with a LookupError that names it."""
    found = dict(sbom.bundled(installed))
    licences = {part["name"]: part["licenses"] for part in found["av"]}
    assert licences["x264"] == licences["x265"] == [{"expression": "GPL-2.0-or-later"}]
    table = tomllib.loads((ROOT / "deploy" / "bundled.toml").read_text(encoding="utf-8"))
    assert {owner: {part["name"] for part in parts} for owner, parts in found.items()} == {
        owner: set(libraries) for owner, libraries in table.items()
    }


def test_a_library_whose_licence_nobody_wrote_down_is_named(tmp_path: Path) -> None:
    metadata = tmp_path / "some_wheel-1.0.dist-info"
    metadata.mkdir()
    (metadata / "RECORD").write_text("some_wheel.libs/libodd-0123abcd.so.1.2,sha256=x,1\nsome_wheel/__init__.py,,\n")
    with pytest.raises(LookupError, match="no licence for odd in some-wheel"):
        list(sbom.bundled(tmp_path))


def test_every_licence_of_the_table_is_one_of_spdx() -> None:
    table = tomllib.loads((ROOT / "deploy" / "bundled.toml").read_text(encoding="utf-8"))
    for libraries in table.values():
        for licence in libraries.values():
            assert canonicalize_license_expression(licence) == licence


def test_the_page_of_licences_names_every_library_that_has_no_other_choice_than_the_gpl() -> None:
    table = tomllib.loads((ROOT / "deploy" / "bundled.toml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([\w-]+)` in `([\w-]+)` \|", page, re.MULTILINE))
    wanted = {
        (library, owner)
        for owner, libraries in table.items()
        for library, licence in libraries.items()
        if licence.startswith("GPL") and "exception" not in licence
    }
    assert wanted
    assert wanted <= named


def test_models_are_under_the_licences_of_the_catalogue() -> None:
    tag = weights.entries()["open-nsfw"].tag
    [model] = sbom.models({"models": [{"tag": tag}]})
    assert (model["type"], f"{model['name']}:{model['version']}") == ("machine-learning-model", tag)
    assert model["licenses"] == [{"expression": "BSD-2-Clause"}]


def test_terms_that_spdx_does_not_know_keep_their_name() -> None:
    [model] = sbom.models({"models": [{"tag": weights.entries()["inswapper-128"].tag}]})
    assert model["licenses"] == [{"license": {"name": "insightface-non-commercial"}}]


def test_a_whole_bill_is_what_the_standard_asks_for(installed: Path, tmp_path: Path) -> None:
    packages = tmp_path / "app/.venv/lib/python3.11/site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(installed)
    write_system(tmp_path)
    bento = tmp_path / "home/bentoml/bento/bento.yaml"
    bento.parent.mkdir(parents=True)
    bento.write_text(f"models: [{{tag: '{weights.entries()['sface'].tag}'}}]")
    bill = sbom.bill(tmp_path, "registry.example.com/kinora/upscale:0.1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    subject = bill["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("registry.example.com/kinora/upscale", "0.1.0")
    named = {component["name"]: component for component in bill["components"]}
    assert {"torch", "sface", "libc6"} <= set(named)
    assert "x264" in {library["name"] for library in named["av"]["components"]}


def write_system(root: Path) -> None:
    """Write what an image has of its distribution."""
    for file, text in (("var/lib/dpkg/status", STATUS), ("usr/lib/os-release", 'ID=debian\nVERSION_ID="12"\nX="y"\n')):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text(text)


def test_packages_of_the_base_have_their_versions_and_addresses(tmp_path: Path) -> None:
    write_system(tmp_path)
    found = list(sbom.system_packages(tmp_path))
    assert [package["name"] for package in found] == ["libc6", "libstdc++6"]
    assert found[0]["purl"] == "pkg:deb/debian/libc6@2.36-9+deb12u13?arch=amd64&distro=debian-12"
    assert found[1]["purl"].startswith("pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14?")
