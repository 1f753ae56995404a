"""The console's own files: plain pages, modules and styles, read once, with a policy that lets nothing else in."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from shared.http.responses import NOT_FOUND, HttpProblem

INDEX = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "ico": "image/x-icon",
}
_PACKED = frozenset({"woff2", "png", "jpg", "webp"})  # gzip would gain nothing
_SMALLEST_PACKED = 512
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class StaticFile:
    """One file, as it is and packed; `packed` is empty where that is no smaller."""

    media_type: str
    plain: bytes
    packed: bytes
    etag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Return the files of `services/router/console` by their path in it; hidden and unknown ones are not served."""
    return dict(_read(files("services.router") / "console", ""))


def _read(folder: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found: list[tuple[str, StaticFile]] = []
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif (suffix := entry.name.rpartition(".")[2]) in _TYPES:
            plain = entry.read_bytes()
            packed = b"" if suffix in _PACKED or len(plain) < _SMALLEST_PACKED else gzip.compress(plain, 9, mtime=0)
            etag = f'"{hashlib.sha256(plain).hexdigest()[:24]}"'
            packed = packed if len(packed) < len(plain) else b""
            found.append((prefix + entry.name, StaticFile(_TYPES[suffix], plain, packed, etag)))
    return found


async def serve_static(request: Request) -> Response:
    """Answer with a file of the console; 304 where the browser has it."""
    file = static_files().get(request.path_params.get("name", INDEX))
    if file is None:
        raise HttpProblem(NOT_FOUND, "no_such_path")
    headers = {**_HEADERS, "etag": file.etag, "content-type": file.media_type}
    if file.etag in _tags(request.headers.get("if-none-match", "")):
        return Response(None, 304, headers)
    if file.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers=headers | {"content-encoding": "gzip"})
    return Response(file.plain, headers=headers)


def _tags(header: str) -> set[str]:
    return {part.strip().removeprefix("W/") for part in header.split(",")}
