"""The weights room: what may be fetched, under which licence, and where it lies once it is verified.

The catalogue is `weights.toml`. A pulled entry is one model of the BentoML model store, so that a bento can carry it:
the original files and, for torch weights, one `weights.safetensors` made from them. Importing this module loads
neither torch nor BentoML: the HTTP face may ask whether weights exist.
"""

import fcntl
import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shared.errors import JobFailed, Rejected
from shared.weights_convert import CONVERTED, CONVERTER_VERSION, Conversion, convert
from shared.weights_fetch import Fetcher, RemoteFile, Source, sha256_of

if TYPE_CHECKING:
    import torch

OnFile = Callable[[RemoteFile, int], None]  # a file and how many of its bytes are here


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue: files that belong together."""

    name: str
    kind: Literal["weights", "media"]
    purpose: str
    licence: str
    origin: str
    commercial: bool
    default: bool
    files: tuple[RemoteFile, ...]
    convert: Conversion | None = None

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)

    @property
    def needs_consent(self) -> bool:
        """Weights that may not earn money are pulled only by someone who names their licence."""
        return self.kind == "weights" and not self.commercial

    @property
    def tag(self) -> str:
        """`name:version` in the model store; the version follows from the content, so it changes only with it."""
        content = [*(file.sha256 for file in self.files), self.convert or "", CONVERTER_VERSION if self.convert else 0]
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
                for file in table.pop("files")
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
    folder = _folder(entry(name))
    return folder is not None and _is_complete(folder)


def path(name: str, file: str | None = None) -> Path:
    """Return a verified file of a pulled entry: the one a model loads, or the original called `file`.

    Its sha256 is computed on every call (about 1 s a GB): call it when a model is loaded, not for every frame.
    Raises JobFailed with the command that pulls it when it is missing or damaged.
    """
    found = entry(name)
    folder = _folder(found)
    if folder is None or not _is_complete(folder):
        raise JobFailed("weights_missing", name=name)
    wanted = file or found.main_file
    hashes = _record(folder)
    if wanted not in hashes:
        raise JobFailed("weights_file_unknown", name=name, file=wanted, allowed=", ".join(sorted(hashes)))
    if sha256_of(folder / wanted) != hashes[wanted]["sha256"]:
        raise JobFailed("weights_damaged", name=name, file=wanted)
    return folder / wanted


def load_safetensors(name: str) -> "dict[str, torch.Tensor]":
    """Load the verified, converted weights of an entry into host memory, in the precision they were published in."""
    from safetensors.torch import load_file  # noqa: PLC0415  # torch stays out of the HTTP face

    return load_file(path(name))


def pull(name: str, *, accepted_licences: Collection[str] = (), on_file: OnFile = lambda _file, _done: None) -> Path:
    """Fetch, verify, convert and store an entry unless it is there already; return its folder.

    Two pulls of one entry at once fetch it once. An interrupted pull goes on where it stopped. Raises Rejected for a
    licence that was not accepted, Unavailable when no source delivers.
    """
    found = entry(name)
    if found.needs_consent and found.licence not in accepted_licences:
        raise Rejected("weights_licence", name=name, licence=found.licence)
    with _pulling(found) as downloads:
        folder = _folder(found)
        if folder is not None and not _problems(found, folder):
            return folder
        fetcher = Fetcher(downloads)
        originals = [fetcher.fetch(file, lambda done, file=file: on_file(file, done)) for file in found.files]  # type: ignore[misc]  # a default binds the loop's variable
        stored = _store(found, originals)
        for original in originals:
            original.unlink()
        fetcher.forget_packages()
        return stored


def verify(name: str) -> list[str]:
    """Hash every file of a pulled entry; return one sentence a problem, nothing when all is well."""
    found = entry(name)
    folder = _folder(found)
    if folder is None:
        raise JobFailed("weights_missing", name=name)
    return _problems(found, folder)


# The store. One model a tag: BentoML's own folder and `model.yaml`, our files beside it.

RECORD = "kinora.json"  # file name -> size and sha256, of originals and conversions alike; written last


def _folder(found: Entry) -> Path | None:
    import bentoml  # noqa: PLC0415  # 0.3 s that only those pay who ask
    from bentoml.exceptions import BentoMLException  # noqa: PLC0415

    try:
        return Path(bentoml.models.get(found.tag).path)
    except BentoMLException:  # not found, or what a killed pull left behind
        return None


def _record(folder: Path) -> dict[str, dict[str, str | int]]:
    record: dict[str, dict[str, str | int]] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return record


def _is_complete(folder: Path) -> bool:
    try:
        return all((folder / name).stat().st_size == facts["size"] for name, facts in _record(folder).items())
    except (OSError, ValueError):
        return False


def _problems(found: Entry, folder: Path) -> list[str]:
    if not _is_complete(folder):
        return [f"{found.name}: incomplete in the store"]
    hashes = {name: facts["sha256"] for name, facts in _record(folder).items()}
    expected = {**hashes, **{file.name: file.sha256 for file in found.files}}
    return [f"{name}: another sha256" for name, sha256 in expected.items() if sha256_of(folder / name) != sha256]


def _store(found: Entry, originals: list[Path]) -> Path:
    """Put verified originals and their conversion into the model store in one go."""
    import bentoml  # noqa: PLC0415
    from bentoml.exceptions import NotFound  # noqa: PLC0415

    _clear(found)
    labels = {"licence": found.licence.lower(), "kind": found.kind}
    with bentoml.models.create(found.tag, labels=labels, metadata={"origin": found.origin}) as model:
        folder = Path(model.path)
        for file, original in zip(found.files, originals, strict=True):
            shutil.copyfile(original, folder / file.name)
        if found.convert:
            convert(found.convert, [folder / file.name for file in found.files], folder / CONVERTED)
        kept = [file.name for file in found.files] + ([CONVERTED] if found.convert else [])
        facts = {name: {"size": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in kept}
        (folder / RECORD).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    stored = _folder(found)
    if stored is None:
        raise NotFound(found.tag)
    return stored


def _clear(found: Entry) -> None:
    """Remove a damaged copy, or the folder that a killed pull left without its record."""
    name, version = found.tag.split(":")
    shutil.rmtree(_home() / "models" / name / version, ignore_errors=True)


def _home() -> Path:
    from bentoml._internal.configuration.containers import BentoMLContainer  # noqa: PLC0415

    return Path(BentoMLContainer.bentoml_home.get())


@contextmanager
def _pulling(found: Entry) -> Iterator[Path]:
    """Hold the entry's lock and yield the folder of its unfinished downloads, which the lock protects."""
    downloads = _home() / "kinora-downloads" / found.name
    downloads.mkdir(parents=True, exist_ok=True)
    with (downloads / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield downloads
