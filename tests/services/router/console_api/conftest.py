"""A console over a media folder, signed in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.router.console_api import uploads
from shared.settings import Settings
from tests.support.console import Console, serving_console


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


@pytest.fixture
def files(tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """A browser that has signed in and sees `media`; the disk of a test machine may be nearly full."""
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 0)
    with serving_console(Settings(state_dir=tmp_path / "state", media_roots=(media,))) as console:
        console.sign_in()
        yield console
