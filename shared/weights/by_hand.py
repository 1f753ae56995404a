"""Files of weights that a user brings: for an entry of the catalogue, or any upscaler under a name or path of its own.

Only tensors are taken from a file, never code: a pickle is read with `weights_only`, and what is stored is safetensors.
There is nothing to compare them with, so they are checked for being the right network, and their hashes are recorded.
"""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shared.errors import JobFailed, Rejected
from shared.files.hashing import sha256_of
from shared.weights import catalogue
from shared.weights.catalogue import Entry
from shared.weights.convert import CONVERTED, UnreadableWeights, convert, read_tensors
from shared.weights.interpolators import INTERPOLATORS
from shared.weights.model_store import StoredModel, record

if TYPE_CHECKING:
    from torch import Tensor

VERSION_DIGITS = 16
OWN_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")  # what the model store takes


def is_path(model: str) -> bool:
    """Whether a setting names a file and not a model of the store."""
    return model.startswith(("/", "."))


def add_file(found: Entry, source: Path) -> Path:
    """Store a file as the weights of a catalogue entry; return its folder. Raises Rejected where it is another network.

    A file with the published bytes is exactly what a pull would have stored, without the original beside it.
    """
    with TemporaryDirectory() as scratch:
        converted = _converted(source, Path(scratch))
        _check(found, source, converted)
        return _store(
            found.tag, converted, licence=found.licence.lower(), origin=f"{found.origin}; added from {source.name}"
        )


def add_own(name: str, source: Path) -> str:
    """Store a file under a name of the user's; return its tag, `name:version`, which the settings take.

    Its version follows from its content. Raises Rejected where it is no network that can be used.
    """
    if not OWN_NAME.fullmatch(name):
        raise Rejected("weights_name_refused", name=name)
    with TemporaryDirectory() as scratch:
        converted = _converted(source, Path(scratch))
        _check_upscaler(source, converted)
        tag = f"{name}:{sha256_of(converted)[:VERSION_DIGITS]}"
        _store(tag, converted, licence="unstated", origin=f"added from {source.name}")
        return tag


def load(model: str) -> tuple[str, "dict[str, Tensor]"]:
    """Return a title without the folders of this machine, and the tensors, of a file by its path or of a stored tag.

    Raises JobFailed where there is no such file or model, or it cannot be read.
    """
    if is_path(model):
        path = Path(model)
        try:
            return path.name, read_tensors(path)
        except UnreadableWeights as error:
            raise JobFailed("weights_unreadable", file=path.name, reason=str(error)) from error
    folder = StoredModel(model).complete()
    if folder is None:
        raise JobFailed("weights_not_stored", name=model)
    if sha256_of(folder / CONVERTED) != record(folder)[CONVERTED]["sha256"]:
        raise JobFailed("weights_own_damaged", name=model)
    return f"{folder.parent.name}:{folder.name}", read_tensors(folder / CONVERTED)


def is_here(model: str) -> bool:
    """Whether `load` would find the file or the stored model; looks at names and sizes only."""
    return Path(model).is_file() if is_path(model) else StoredModel(model).complete() is not None


def _converted(source: Path, scratch: Path) -> Path:
    target = scratch / CONVERTED
    try:
        convert("torch", [source], target)
    except UnreadableWeights as error:
        raise Rejected("weights_unreadable", file=source.name, reason=str(error)) from error
    return target


def _check(found: Entry, source: Path, converted: Path) -> None:
    generation = next((name for name, entry in INTERPOLATORS.items() if entry == found.name), None)
    if generation is None:
        if not any(file.sha256 == sha256_of(source) for file in found.files):
            raise Rejected("weights_other_bytes", file=source.name, name=found.name)
        return
    from shared.networks.rife import Rife  # noqa: PLC0415  # torch: the HTTP face imports this module

    try:
        Rife.from_weights(read_tensors(converted), generation)
    except RuntimeError as error:
        raise Rejected("weights_other_network", file=source.name, name=found.name) from error


def _check_upscaler(source: Path, converted: Path) -> None:
    from shared.networks.upscaler_weights import upscaler_of  # noqa: PLC0415  # torch

    try:
        upscaler_of(read_tensors(converted))
    except ValueError as error:
        known = ", ".join(entry.name for entry in catalogue.entries().values() if entry.takes_file)
        raise Rejected("weights_no_upscaler", file=source.name, reason=str(error), allowed=known) from error


def _store(tag: str, converted: Path, *, licence: str, origin: str) -> Path:
    def lay_out(target: Path) -> list[str]:
        shutil.copyfile(converted, target / CONVERTED)
        return [CONVERTED]

    return StoredModel(tag).fill(lay_out, labels={"licence": licence, "kind": "weights"}, origin=origin)
