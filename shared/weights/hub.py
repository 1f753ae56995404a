"""Whole repositories of the model hub: what a commit holds, and its files, each checked against that commit.

A commit's tree names the sha256 of every large file and the git hash of every small one, so that a pinned commit fixes
every byte. Only two of the hub's addresses are used: `/api/models/NAME/…` and `/NAME/resolve/COMMIT/PATH`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from shared.errors import Unavailable
from shared.files.hashing import sha256_of
from shared.weights.download import URL_TIMEOUT_SECONDS, OnBytes, SourceFailed, download

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

HUB_URL = "https://huggingface.co"
COMMIT_DIGITS = 40
KINDS = frozenset({".json", ".safetensors", ".model", ".txt"})  # what a model is loaded from; pickles are not


@dataclass(frozen=True)
class Repository:
    """Some folders of a repository (`""` is its own level) at a commit, or at the newest commit of a branch.

    A commit fixes every byte of Hugging Face's; `sha256` fixes files by path on any hub, whatever its commits are.
    `files` takes these paths of the folders alone.
    """

    name: str
    revision: str
    folders: tuple[str, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a name such as "Wan-AI/Wan2.1-VACE-1.3B-diffusers@ec4d2cb0"."""
        return f"{self.name}@{self.revision[:8]}"


@dataclass(frozen=True)
class HubFile:
    """A file of one commit: `sha256` of a large one, `git_hash` of one that git itself keeps."""

    repository: str
    commit: str
    path: str
    size: int
    sha256: str = ""
    git_hash: str = ""
    address: str = ""  # below the hub's URL; without one it is Hugging Face's

    @property
    def name(self) -> str:
        """Return its path, which is its name in the stored folder."""
        return self.path

    def is_at(self, path: Path) -> bool:
        """Whether that file holds exactly these bytes."""
        if not path.exists() or path.stat().st_size != self.size:
            return False
        if self.sha256:
            return sha256_of(path) == self.sha256
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == self.git_hash


class Hub:
    """The model hub at one address; its mirrors have the same API."""

    def __init__(self, url: str = HUB_URL) -> None:
        self._url = url.rstrip("/")

    def files(self, repository: Repository) -> list[HubFile]:
        """Return what the folders hold that a model is loaded from; Unavailable where the hub does not answer."""
        try:
            import httpx2  # noqa: PLC0415  # only creation's installation has it
            from huggingface_hub import HfApi  # noqa: PLC0415  # likewise
        except ImportError as error:
            raise Unavailable("weights_hub_library") from error
        # Neither a token of this user nor a list of installed packages is sent.
        api = HfApi(endpoint=self._url, token=False, headers={"user-agent": "kinora"})
        name, revision = repository.name, repository.revision
        try:
            model = api.model_info(name, revision=revision, files_metadata=True, timeout=URL_TIMEOUT_SECONDS)
            found = list(_files(name, revision, model))
        except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise Unavailable("weights_hub_unreachable", repository=repository, hub=self._url, reason=reason) from error
        return wanted_of(found, repository)

    def fetch(self, file: HubFile, target: Path, on_bytes: OnBytes) -> None:
        """Fetch a file to `target` unless it is there already; continue what an interrupted attempt began."""
        fetch(self._url, file, target, on_bytes)


def wanted_of(found: Iterable[HubFile], repository: Repository) -> list[HubFile]:
    """Return those files that lie in the folders of a repository and that a model is loaded from."""
    wanted = [file for file in found if _folder(file.path) in repository.folders]
    if repository.files:
        wanted = [file for file in wanted if file.path in repository.files]
    return [file for file in wanted if PurePosixPath(file.path).suffix in KINDS]


def other_bytes(files: Iterable[HubFile], repository: Repository) -> list[str]:
    """Return one sentence for each file whose hash is fixed and that a hub lists with another, or not at all."""
    found = {file.path: file.sha256 for file in files}
    return [
        f"{path}: sha256 is {found.get(path, '')[:16] or 'missing'}, expected {wanted[:16]}"
        for path, wanted in repository.sha256.items()
        if found.get(path) != wanted
    ]


def is_inside(path: str) -> bool:
    """Whether a path of a repository stays in the folder that it is stored in."""
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


def fetch(hub: str, file: HubFile, target: Path, on_bytes: OnBytes) -> None:
    """Fetch a file of a hub to `target` unless it is there already; continue what an interrupted attempt began.

    Raises Unavailable where the hub does not deliver its bytes.
    """
    if file.is_at(target):
        on_bytes(file.size)
        return
    # Not by `hf_hub_download`: after an interruption it begins again, and it asks Xet's servers even with a mirror.
    # Its `http_get` could continue, but writes all that a server sends, however long the file should be.
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    url = f"{hub}/{file.address or f'{file.repository}/resolve/{file.commit}/{file.path}'}"
    try:
        download(url, partial, size=file.size, on_bytes=on_bytes)
    except SourceFailed as failure:
        raise Unavailable("weights_unreachable", file=file.path, reasons=f"{url}: {failure}") from failure
    if not file.is_at(partial):
        partial.unlink()
        raise Unavailable("weights_unreachable", file=file.path, reasons=f"{url}: not the bytes of its commit")
    partial.rename(target)


def _files(repository: str, revision: str, model: "ModelInfo") -> Iterator[HubFile]:
    """Yield the files of a commit, except those whose path would lead out of our folder."""
    commit = model.sha
    if not commit or (len(revision) == COMMIT_DIGITS and commit != revision):
        raise ValueError(f"it answered for {commit}")
    for item in model.siblings or ():
        if not is_inside(item.rfilename):
            continue
        if item.lfs:
            yield HubFile(repository, commit, item.rfilename, item.lfs.size, sha256=item.lfs.sha256)
        elif item.size is not None and item.blob_id:
            yield HubFile(repository, commit, item.rfilename, item.size, git_hash=item.blob_id)
        else:
            raise ValueError(f"{item.rfilename} has no hash")


def _folder(path: str) -> str:
    """Return the folder that a file lies in, "" for the repository's own level."""
    return str(PurePosixPath(path).parent) if "/" in path else ""
