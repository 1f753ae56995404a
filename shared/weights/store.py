"""What was pulled: whether it is stored, where a model is loaded from, and whether its files are unchanged."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import JobFailed
from shared.files.hashing import sha256_of
from shared.weights.catalogue import Entry, entry
from shared.weights.model_store import StoredModel, record, touched

if TYPE_CHECKING:
    import torch


def exists(name: str) -> bool:
    """Whether the entry was pulled completely. Looks at names and sizes only: fast enough for every request."""
    return StoredModel(entry(name).tag).complete() is not None


def path(name: str, file: str | None = None) -> Path:
    """Return a verified file of a pulled entry: the one a model loads, or the original called `file`.

    Its sha256 is computed on every call (about 1 s a GB): call it when a model is loaded, not for every frame.
    Raises JobFailed with the command that pulls it when it is missing or damaged.
    """
    found = entry(name)
    stored = _stored(found)
    wanted = file or found.main_file
    recorded = record(stored)
    if wanted not in recorded:
        raise JobFailed("weights_file_unknown", name=name, file=wanted, allowed=", ".join(sorted(recorded)))
    _check(found, stored, [wanted])
    return stored / wanted


def folder(name: str) -> Path:
    """Return the verified folder of a pulled entry, which a whole model is loaded from; errors as of `path`.

    Only files whose time of change is not the recorded one are hashed again: a whole model has tens of gigabytes.
    """
    found = entry(name)
    stored = _stored(found)
    _check(found, stored, touched(stored))
    return stored


def load_safetensors(name: str) -> "dict[str, torch.Tensor]":
    """Load the verified, converted weights of an entry into host memory, in the precision they were published in."""
    from safetensors.torch import load_file  # noqa: PLC0415  # torch stays out of the HTTP face

    return load_file(path(name))


def verify(name: str) -> list[str]:
    """Hash every file of a pulled entry; return one sentence for each problem, none when all files are right."""
    found = entry(name)
    stored = StoredModel(found.tag).folder()
    if stored is None:
        raise JobFailed("weights_missing", name=name)
    return problems_of(found, stored)


def _stored(found: Entry) -> Path:
    stored = StoredModel(found.tag).complete()
    if stored is None:
        raise JobFailed("weights_missing", name=found.name)
    return stored


def _check(found: Entry, stored: Path, names: Collection[str]) -> None:
    recorded = record(stored)
    for name in names:
        if sha256_of(stored / name) != recorded[name]["sha256"]:
            raise JobFailed("weights_damaged", name=found.name, file=name)


def problems_of(found: Entry, stored: Path) -> list[str]:
    if StoredModel(found.tag).complete() is None:
        return [f"{found.name}: incomplete in the store"]
    hashes = {name: facts["sha256"] for name, facts in record(stored).items()}
    # Of weights that were brought by hand only the conversion is stored, and has no hash but the recorded one; no more
    # has a file whose sha256 nobody has published.
    expected = {**hashes, **{file.name: file.sha256 for file in found.files if file.name in hashes and file.sha256}}
    return [f"{name}: another sha256" for name, sha256 in expected.items() if sha256_of(stored / name) != sha256]
