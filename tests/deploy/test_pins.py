"""What the image of each service installs: exactly what the project pins, and no more than it needs."""

from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import pins
from tests.support.image import pinned

DEPLOY = Path(__file__).parents[2] / "deploy"


def declared(name: str) -> str:
    return (DEPLOY / name / "requirements.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", pins.IMAGES)
def test_an_image_declares_exactly_what_the_project_pins_for_it(name: str) -> None:
    assert declared(name) == pins.requirements(name), "run `make pins`"


@pytest.mark.parametrize(("name", "limit"), [("router", 200e6), ("facefusion", 800e6)])
def test_what_an_image_installs_stays_small(name: str, limit: float) -> None:
    """Sizes as installed here, without byte code; `docs/deployment.md` has those of a real installation.

    Face fusion was held to 700 MB before the neural swapper came with scipy (114 MB) and scikit-image (30 MB).
    """
    files = (
        Path(str(file.locate()))
        for line in pinned(declared(name))
        for file in distribution(line.partition("==")[0]).files or ()
    )
    assert sum(file.stat().st_size for file in files if file.exists() and file.suffix != ".pyc") < limit


def test_what_is_installed_without_its_dependencies_is_pinned_once_and_finds_what_it_imports() -> None:
    """`insightface` asks for `opencv-python`, a second OpenCV beside ours: all else that it asks for is declared."""
    lock = pins.locked((DEPLOY.parent / "requirements.lock").read_text(encoding="utf-8"))
    script = (DEPLOY / "facefusion" / "gpu.sh").read_text(encoding="utf-8")
    assert f'uv pip install --no-deps "{lock["insightface"]}"\n' in script
    needs = [Requirement(line) for line in requires("insightface") or () if "extra ==" not in line]
    wanted = {canonicalize_name(need.name) for need in needs}
    for image in ("facefusion", "personal"):
        names = set(pins.locked(declared(image)))
        assert wanted - names == {"opencv-python"}
        assert "opencv-python-headless" in names
