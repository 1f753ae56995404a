"""Fetching: files and whole models, hash-checked, into the model store."""

import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Rejected, Unavailable
from shared.files.hashing import sha256_of
from shared.process.file_lock import FileLock
from shared.weights import catalogue
from shared.weights.by_hand import add_file
from shared.weights.catalogue import Entry, entry
from shared.weights.convert import CONVERTED, convert
from shared.weights.diffusers_layout import files_of, missing_of, tensors_of, wrong_components
from shared.weights.download import Fetcher, RemoteFile
from shared.weights.hub import HUB_URL, Hub, HubFile, other_bytes
from shared.weights.model_store import StoredModel, home
from shared.weights.modelscope import ModelScope, is_modelscope
from shared.weights.store import problems_of

LOCK = ".kinora-lock"  # in a folder that is being pulled into
OnFile = Callable[[RemoteFile | HubFile, int], None]  # a file and how many of its bytes are here


def pull(
    name: str,
    *,
    accepted_licences: Collection[str] = (),
    on_file: OnFile = lambda _file, _done: None,
    hub_url: str = HUB_URL,
) -> Path:
    """Fetch, verify, convert and store an entry unless it is there already; return its folder.

    Two pulls of one entry at once fetch it once. An interrupted pull continues where it stopped. Raises Rejected for a
    licence that was not accepted, Unavailable when no source delivers or the disk is too small.
    """
    found = _consented(name, accepted_licences)
    with _pulling(found) as downloads:
        shelf = StoredModel(found.tag)
        stored = shelf.complete()
        if stored is not None and not problems_of(found, stored):
            return stored
        if found.hub:
            return _pull_model(found, _hub(hub_url), downloads, on_file)
        fetcher = Fetcher(downloads)
        originals = [fetcher.fetch(file, lambda done, file=file: on_file(file, done)) for file in found.files]  # type: ignore[misc]  # a default binds the loop's variable
        stored = shelf.fill(
            lambda target: _lay_out(found, originals, target), labels=_labels(found), origin=found.origin
        )
        for original in originals:
            original.unlink()
        fetcher.forget_packages()
        return stored


def pull_into(
    folder: Path,
    name: str,
    *,
    accepted_licences: Collection[str] = (),
    on_file: OnFile = lambda _file, _done: None,
    hub_url: str = HUB_URL,
) -> Path:
    """Fetch and verify an entry's files as they are published into a folder of the caller's, not into the store.

    A whole model can then be named by its folder in the settings. An interrupted pull continues where it stopped, and
    what is there already is only looked at. Raises as `pull` does.
    """
    found = _consented(name, accepted_licences)
    with FileLock(folder / LOCK, mode=0o666):
        if found.hub:
            _fetch_model(found, _hub(hub_url), folder, on_file)
        else:
            fetcher = Fetcher(folder)
            for file in found.files:
                fetcher.fetch(file, lambda done, file=file: on_file(file, done))  # type: ignore[misc]  # see `pull`
            fetcher.forget_packages()
    return folder


def add(name: str, source: Path) -> Path:
    """Store a folder in diffusers layout as the whole model of that name, or a file as its weights; return its folder.

    There is nothing to compare a model's content with, so it is checked for being complete and of the right classes,
    and its hashes are recorded: from then on `verify` and `path` check it against them. LoRAs must be the published
    ones, where their hashes are known. Raises Rejected with the reasons.
    """
    found = entry(name)
    if found.hub and not found.is_model:
        return _add_published(found, source)
    if found.takes_file and source.is_file():
        with _pulling(found):
            return add_file(found, source)
    if not found.is_model:
        known = catalogue.entries().values()
        models = ", ".join(entry.name for entry in known if entry.is_model or (source.is_file() and entry.takes_file))
        raise Rejected("weights_no_model", name=name, allowed=models)
    missing = missing_of(source, found.parts)
    if missing:
        raise Rejected("weights_folder_incomplete", folder=source, name=name, reasons="; ".join(missing))
    files = files_of(source, found.parts)
    _check_room(sum((source / file).stat().st_size for file in files), home())
    with _pulling(found):
        return StoredModel(found.tag).fill(
            lambda target: [_copied(source, file, target, file) for file in files],
            labels=_labels(found),
            origin=f"{found.origin}; added from a folder",
        )


def _add_published(found: Entry, source: Path) -> Path:
    """Store LoRAs that were brought by hand: the file, where it is one, or the folder that has them."""
    (repository,) = found.hub
    files = {name: _brought(source, name) if source.is_dir() else source for name in repository.files}
    if source.is_file() and len(files) > 1:
        raise Rejected("weights_lora_pair", name=found.name, files=", ".join(files))
    for name, file in files.items():
        if not _is_published(file, repository.sha256.get(name)):
            raise Rejected("weights_lora_other", file=file.name, name=found.name)
    with _pulling(found):
        return StoredModel(found.tag).fill(
            lambda target: [_copied(file.parent, file.name, target, name) for name, file in files.items()],
            labels=_labels(found),
            origin=f"{found.origin}; added from {source.name}",
        )


def _brought(folder: Path, path: str) -> Path:
    """Return a file of a repository in a copied folder: that of the repository, or of its own level."""
    whole = folder / path
    return whole if whole.exists() else folder / whole.name


def _is_published(file: Path, sha256: str | None) -> bool:
    """Whether a file is the published one; without a known hash, whether it is safetensors and complete."""
    if not file.is_file():
        return False
    return sha256_of(file) == sha256 if sha256 else tensors_of(file) is not None


def _labels(found: Entry) -> dict[str, str]:
    return {"licence": found.licence.lower(), "kind": found.kind}


def _lay_out(found: Entry, originals: list[Path], target: Path) -> list[str]:
    """Put verified originals and their conversion into a folder; return their names."""
    for file, original in zip(found.files, originals, strict=True):
        shutil.copyfile(original, target / file.name)
    if found.convert:
        convert(found.convert, [target / file.name for file in found.files], target / CONVERTED)
    return [file.name for file in found.files] + ([CONVERTED] if found.convert else [])


def _pull_model(found: Entry, hub: Hub | ModelScope, downloads: Path, on_file: OnFile) -> Path:
    """Fetch a whole model, each file checked against its commit, and move it into the store."""
    files = _fetch_model(found, hub, downloads, on_file)
    commits = ", ".join(sorted({f"{file.repository}@{file.commit}" for file in files.values()}))
    return StoredModel(found.tag).fill(
        lambda target: [_moved(downloads, name, target) for name in files],
        labels=_labels(found),
        origin=f"{found.origin}; {commits}",
    )


def _fetch_model(found: Entry, hub: Hub | ModelScope, folder: Path, on_file: OnFile) -> dict[str, HubFile]:
    """Fetch a whole model into a folder, each file checked against its commit; return them by path."""
    files: dict[str, HubFile] = {}
    for repository in found.hub:
        listed = hub.files(repository)
        if wrong := other_bytes(listed, repository):
            raise Unavailable("weights_hub_other", name=found.name, reasons="; ".join(wrong))
        files |= {file.path: file for file in listed}
    _check_room(sum(file.size for file in files.values() if not (folder / file.path).exists()), folder)
    small = [file for file in files.values() if not file.path.endswith(".safetensors")]
    large = [file for file in files.values() if file.path.endswith(".safetensors")]
    for group, check in ((small, wrong_components), (large, missing_of)):
        for file in group:
            hub.fetch(file, folder / file.path, lambda done, file=file: on_file(file, done))  # type: ignore[misc]  # see `pull`
        wrong = check(folder, found.parts)
        if wrong:  # not what the catalogue says: found before gigabytes are fetched
            raise Unavailable("weights_hub_other", name=found.name, reasons="; ".join(wrong))
    return files


def _moved(source: Path, name: str, target: Path) -> str:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).rename(target / name)
    return name


def _copied(source: Path, name: str, target: Path, stored_name: str) -> str:
    (target / stored_name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / stored_name)
    return stored_name


def _consented(name: str, accepted_licences: Collection[str]) -> Entry:
    """Return the entry; raise Rejected for one that needs a consent which was not given."""
    found = entry(name)
    if found.needs_consent and found.licence not in accepted_licences:
        raise Rejected("weights_licence", name=name, licence=found.licence)
    return found


def _hub(url: str) -> Hub | ModelScope:
    return ModelScope(url) if is_modelscope(url) else Hub(url)


def _check_room(needed: int, folder: Path) -> None:
    """Raise Unavailable unless the folder's disk has that many bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Unavailable("weights_no_room", needed=f"{needed / 1e9:.1f}", free=f"{free / 1e9:.1f}", folder=folder)


@contextmanager
def _pulling(found: Entry) -> Iterator[Path]:
    """Hold the entry's lock and yield the folder of its unfinished downloads, which the lock protects."""
    downloads = home() / "kinora-downloads" / found.name
    with FileLock(downloads / "lock", mode=0o666):  # several users may share a store
        yield downloads
