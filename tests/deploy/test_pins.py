"""What the image of each service installs: exactly what the project pins, and no more than it needs."""

from importlib.metadata import distribution
from pathlib import Path

import pytest

from deploy import pins
from tests.support.image import pinned

DEPLOY = Path(__file__).parents[2] / "deploy"


def declared(name: str) -> str:
    return (DEPLOY / name / "requirements.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", pins.IMAGES)
def test_an_image_declares_exactly_what_the_project_pins_for_it(name: str) -> None:
    assert declared(name) == pins.requirements(name), "run `make pins`"


@pytest.mark.parametrize(("name", "limit"), [("router", 200e6), ("facefusion", 700e6)])
def test_what_an_image_installs_stays_small(name: str, limit: float) -> None:
    """Sizes as installed here, without byte code; `docs/deployment.md` has those of a real installation."""
    files = (
        Path(str(file.locate()))
        for line in pinned(declared(name))
        for file in distribution(line.partition("==")[0]).files or ()
    )
    assert sum(file.stat().st_size for file in files if file.exists() and file.suffix != ".pyc") < limit
