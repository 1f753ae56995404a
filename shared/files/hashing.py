"""Hashes of files."""

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal; the `url` of an opened file is read from its beginning, too."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
