"""A film of five segments, and attempts at it."""

from pathlib import Path

import pytest

from tests.support.clips import clip
from tests.support.segmented_work import Attempts


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of picture and sound: five segments."""
    return clip(tmp_path_factory.mktemp("film") / "film.mp4", seconds=2, options=["-g", "12"])


@pytest.fixture
def attempts(film: Path, tmp_path: Path) -> Attempts:
    return Attempts(film, tmp_path / "out")
