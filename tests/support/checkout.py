"""A checkout in use, from which bentos and images are built."""

import shutil
from pathlib import Path

from shared.vocabulary import SERVICES

ROOT = Path(__file__).parents[2]
SECRET_LOOKING = "KINORA_TOKEN=do-not-ship-me"


def checkout_in_use(copy: Path) -> Path:
    """Copy this checkout and return the copy: with secrets, tests, state and media lying about in it."""
    parts = ("services", "shared", "deploy", "tests", "kinora.egg-info")
    for part in parts:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("bentofile.yaml", "pyproject.toml", "requirements.lock", "Makefile", "README.md"):
        shutil.copy2(ROOT / name, copy / name)
    for place in (".", "shared", "services", *(f"services/{name}" for name in ("router", *SERVICES))):
        (copy / place / ".env").write_text(SECRET_LOOKING)
    for folder in ("state", "media"):
        (copy / folder).mkdir()
        (copy / folder / "private").write_text(SECRET_LOOKING)
    return copy
