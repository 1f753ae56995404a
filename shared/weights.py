"""The weights room: what may be fetched, under which licence, and where it lies once it is verified.

The catalogue is `weights.toml`. A pulled entry is one model of the BentoML model store, so that a bento can carry it:
the original files and, for torch weights, one `weights.safetensors` made from them; or a whole model, a folder in
diffusers layout. Importing this module loads neither torch nor BentoML: the HTTP face may ask whether weights exist.
"""

import fcntl
import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shared.errors import JobFailed, Rejected, Unavailable
from shared.weights_convert import CONVERTED, CONVERTER_VERSION, Conversion, convert
from shared.weights_fetch import Fetcher, RemoteFile, Source, sha256_of
from shared.weights_hub import HUB_URL, Hub, HubFile, Repository
from shared.weights_model import Parts, files_of, missing_of, strangers_of
from shared.weights_store import Shelf, home, record, touched

if TYPE_CHECKING:
    import torch

OnFile = Callable[[RemoteFile | HubFile, int], None]  # a file and how many of its bytes are here


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue: files that belong together, or a whole model of the hub."""

    name: str
    kind: Literal["weights", "media"]
    purpose: str
    licence: str
    origin: str
    commercial: bool
    default: bool
    files: tuple[RemoteFile, ...] = ()
    convert: Conversion | None = None
    hub: tuple[Repository, ...] = ()
    parts: Parts = field(default_factory=dict)  # of a whole model
    about_bytes: int = 0  # of a whole model, whose commit has the exact number

    @property
    def is_model(self) -> bool:
        """Whether this is a whole model: a folder, not files."""
        return bool(self.hub)

    @property
    def size(self) -> int:
        """Bytes to download."""
        return self.about_bytes or sum(file.size for file in self.files)

    @property
    def needs_consent(self) -> bool:
        """Weights that may not earn money are pulled only by someone who names their licence."""
        return self.kind == "weights" and not self.commercial

    @property
    def tag(self) -> str:
        """`name:version` in the model store; the version follows from the content, so it changes only with it."""
        content: list[object] = [file.sha256 for file in self.files]
        content += [self.convert or "", CONVERTER_VERSION if self.convert else 0]
        content += [[part.name, part.revision, part.folders] for part in self.hub]
        return f"{self.name}:{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}"

    @property
    def main_file(self) -> str:
        """Return what a model is loaded from."""
        return CONVERTED if self.convert else self.files[0].name


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return every entry by name, in the order of `weights.toml`."""
    tables = tomllib.loads((files("shared") / "weights.toml").read_text(encoding="utf-8"))
    return {
        name: Entry(
            name=name,
            files=tuple(
                RemoteFile(
                    name=file["name"],
                    size=file["size"],
                    sha256=file["sha256"],
                    sources=tuple(Source(**source) for source in file["sources"]),
                )
                for file in table.pop("files", ())
            ),
            hub=tuple(
                Repository(part["repository"], part["revision"], tuple(part["folders"]))
                for part in table.pop("hub", ())
            ),
            **table,
        )
        for name, table in tables.items()
    }


def entry(name: str) -> Entry:
    """Look a name up; an unknown one is rejected with the names that exist."""
    try:
        return catalogue()[name]
    except KeyError:
        raise Rejected("weights_unknown", name=name, allowed=", ".join(catalogue())) from None


def exists(name: str) -> bool:
    """Whether the entry was pulled completely. Looks at names and sizes only: cheap enough for every request."""
    return Shelf(entry(name).tag).complete() is not None


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


def pull(
    name: str,
    *,
    accepted_licences: Collection[str] = (),
    on_file: OnFile = lambda _file, _done: None,
    hub_url: str = HUB_URL,
) -> Path:
    """Fetch, verify, convert and store an entry unless it is there already; return its folder.

    Two pulls of one entry at once fetch it once. An interrupted pull goes on where it stopped. Raises Rejected for a
    licence that was not accepted, Unavailable when no source delivers or the disk is too small.
    """
    found = entry(name)
    if found.needs_consent and found.licence not in accepted_licences:
        raise Rejected("weights_licence", name=name, licence=found.licence)
    with _pulling(found) as downloads:
        shelf = Shelf(found.tag)
        stored = shelf.complete()
        if stored is not None and not _problems(found, stored):
            return stored
        if found.is_model:
            return _pull_model(found, Hub(hub_url), downloads, on_file)
        fetcher = Fetcher(downloads)
        originals = [fetcher.fetch(file, lambda done, file=file: on_file(file, done)) for file in found.files]  # type: ignore[misc]  # a default binds the loop's variable
        stored = shelf.fill(
            lambda target: _lay_out(found, originals, target), labels=_labels(found), origin=found.origin
        )
        for original in originals:
            original.unlink()
        fetcher.forget_packages()
        return stored


def add(name: str, source: Path) -> Path:
    """Store a folder in diffusers layout as the whole model of that name; return where it lies.

    There is nothing to compare its content with, so it is checked for being complete and of the right classes, and its
    hashes are recorded: from then on they are what `verify` and `path` hold it to. Raises Rejected with the reasons.
    """
    found = entry(name)
    if not found.is_model:
        models = ", ".join(entry.name for entry in catalogue().values() if entry.is_model)
        raise Rejected("weights_no_model", name=name, allowed=models)
    missing = missing_of(source, found.parts)
    if missing:
        raise Rejected("weights_folder_incomplete", folder=source, name=name, reasons="; ".join(missing))
    files = files_of(source, found.parts)
    _check_room(sum((source / file).stat().st_size for file in files))
    with _pulling(found):
        return Shelf(found.tag).fill(
            lambda target: [_copied(source, file, target) for file in files],
            labels=_labels(found),
            origin=f"{found.origin}; added from a folder",
        )


def verify(name: str) -> list[str]:
    """Hash every file of a pulled entry; return one sentence a problem, nothing when all is well."""
    found = entry(name)
    stored = Shelf(found.tag).folder()
    if stored is None:
        raise JobFailed("weights_missing", name=name)
    return _problems(found, stored)


def _stored(found: Entry) -> Path:
    stored = Shelf(found.tag).complete()
    if stored is None:
        raise JobFailed("weights_missing", name=found.name)
    return stored


def _check(found: Entry, stored: Path, names: Collection[str]) -> None:
    recorded = record(stored)
    for name in names:
        if sha256_of(stored / name) != recorded[name]["sha256"]:
            raise JobFailed("weights_damaged", name=found.name, file=name)


def _problems(found: Entry, stored: Path) -> list[str]:
    if Shelf(found.tag).complete() is None:
        return [f"{found.name}: incomplete in the store"]
    hashes = {name: facts["sha256"] for name, facts in record(stored).items()}
    expected = {**hashes, **{file.name: file.sha256 for file in found.files}}
    return [f"{name}: another sha256" for name, sha256 in expected.items() if sha256_of(stored / name) != sha256]


def _labels(found: Entry) -> dict[str, str]:
    return {"licence": found.licence.lower(), "kind": found.kind}


def _lay_out(found: Entry, originals: list[Path], target: Path) -> list[str]:
    """Put verified originals and their conversion into a folder; return their names."""
    for file, original in zip(found.files, originals, strict=True):
        shutil.copyfile(original, target / file.name)
    if found.convert:
        convert(found.convert, [target / file.name for file in found.files], target / CONVERTED)
    return [file.name for file in found.files] + ([CONVERTED] if found.convert else [])


def _pull_model(found: Entry, hub: Hub, downloads: Path, on_file: OnFile) -> Path:
    """Bring a whole model, each file checked against its commit, and move it into the store."""
    files = {file.path: file for repository in found.hub for file in hub.files(repository)}
    _check_room(sum(file.size for file in files.values() if not (downloads / file.path).exists()))
    small = [file for file in files.values() if file.git_hash]
    large = [file for file in files.values() if not file.git_hash]
    for group, check in ((small, strangers_of), (large, missing_of)):
        for file in group:
            hub.fetch(file, downloads / file.path, lambda done, file=file: on_file(file, done))  # type: ignore[misc]  # see above
        wrong = check(downloads, found.parts)
        if wrong:  # not what the catalogue takes it for: known before gigabytes are fetched
            raise Unavailable("weights_hub_other", name=found.name, reasons="; ".join(wrong))
    commits = ", ".join(sorted({f"{file.repository}@{file.commit}" for file in files.values()}))
    return Shelf(found.tag).fill(
        lambda target: [_moved(downloads, name, target) for name in files],
        labels=_labels(found),
        origin=f"{found.origin}; {commits}",
    )


def _moved(source: Path, name: str, target: Path) -> str:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).rename(target / name)
    return name


def _copied(source: Path, name: str, target: Path) -> str:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / name)
    return name


def _check_room(needed: int) -> None:
    """Raise Unavailable where the store's disk cannot take that many bytes."""
    free = shutil.disk_usage(home()).free
    if needed > free:
        raise Unavailable("weights_no_room", needed=f"{needed / 1e9:.1f}", free=f"{free / 1e9:.1f}", folder=home())


@contextmanager
def _pulling(found: Entry) -> Iterator[Path]:
    """Hold the entry's lock and yield the folder of its unfinished downloads, which the lock protects."""
    downloads = home() / "kinora-downloads" / found.name
    downloads.mkdir(parents=True, exist_ok=True)
    with (downloads / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield downloads
