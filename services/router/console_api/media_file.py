"""One file as a browser reads it: whole or a range of it, by a checked descriptor, as nothing but media."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.files.handles import InputFile
from shared.media.media_type import HEAD_BYTES, media_type

CHUNK_BYTES = 256 * 1024
_ANY = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_HEADERS = {
    "accept-ranges": "bytes",
    "cache-control": "private, no-cache",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class CutShort(Exception):
    """A file became shorter while it was read, or the process stops: the answer cannot be completed."""


@dataclass(frozen=True)
class Part:
    """Bytes `first` to `last` of a file, both included; as a range of it, or all of it."""

    first: int
    last: int
    ranged: bool


class Unsatisfiable(Exception):
    """The range that was asked for lies behind the file's end."""


def read_part(header: str | None, size: int) -> Part:
    """Return what a Range header asks for: all of it for what is no single range of bytes. Raises Unsatisfiable."""
    whole = Part(0, size - 1, ranged=False)
    match = _RANGE.fullmatch(header.strip().replace(" ", "")) if header else None
    if match is None or match[1] == match[2] == "":
        return whole
    if not match[1]:  # the last so many bytes
        if not int(match[2]) or not size:
            raise Unsatisfiable
        return Part(max(0, size - int(match[2])), size - 1, ranged=True)
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < first:  # no range at all
        return whole
    if first >= size:
        raise Unsatisfiable
    return Part(first, last, ranged=True)


def etag_of(file: InputFile) -> str:
    """Return a tag that another content under the same name does not have."""
    return f'"{os.fstat(file.fd).st_ino:x}-{file.size:x}-{file.mtime_ns:x}"'


def type_of(file: InputFile) -> str | None:
    """Return the type of a file's content; None for what is no media."""
    return media_type(os.pread(file.fd, HEAD_BYTES, 0))


def answer(
    file: InputFile, kind: str | None, headers: Headers, *, is_head: bool, download: bool, stopping: Callable[[], bool]
) -> Response:
    """Answer with a file of a type, None for what is no media; it is closed when the answer ends."""
    etag = etag_of(file)
    modified = datetime.fromtimestamp(file.mtime_ns // 10**9, UTC)
    shown = {**_HEADERS, "etag": etag, "last-modified": format_datetime(modified, usegmt=True)}
    shown["content-type"] = kind or _ANY
    shown["content-disposition"] = disposition(file.name, attached=download or kind is None)
    if _is_known(headers, etag, modified):
        file.close()
        return Response(None, 304, shown)
    wanted = headers.get("range") if _may_range(headers, etag, modified) else None
    try:
        part = read_part(wanted, file.size)
    except Unsatisfiable:
        file.close()
        return Response(None, 416, shown | {"content-range": f"bytes */{file.size}", "content-length": "0"})
    shown["content-length"] = str(part.last + 1 - part.first)
    if part.ranged:
        shown["content-range"] = f"bytes {part.first}-{part.last}/{file.size}"
    status = 206 if part.ranged else 200
    if is_head:
        file.close()
        return Response(None, status, shown)
    return _Streamed(_bytes(file, part, stopping), status, shown, file)


def disposition(name: str, *, attached: bool) -> str:
    """Return a Content-Disposition that names a file in any language."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"{'attachment' if attached else 'inline'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class _Streamed(StreamingResponse):
    """Closes the file also where sending never began."""

    def __init__(self, content: AsyncIterator[bytes], status: int, headers: dict[str, str], file: InputFile) -> None:
        super().__init__(content, status, headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


async def _bytes(file: InputFile, part: Part, stopping: Callable[[], bool]) -> AsyncIterator[bytes]:
    place = part.first
    while place <= part.last:
        if stopping():
            raise CutShort
        chunk = await asyncio.to_thread(os.pread, file.fd, min(CHUNK_BYTES, part.last + 1 - place), place)
        if not chunk:  # the file was cut: only closing the connection tells that
            raise CutShort
        place += len(chunk)
        yield chunk


def _is_known(headers: Headers, etag: str, modified: datetime) -> bool:
    """Whether the caller has this very content."""
    if (tags := headers.get("if-none-match")) is not None:
        return tags.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in tags.split(",")}
    since = _date(headers.get("if-modified-since"))
    return since is not None and modified <= since


def _may_range(headers: Headers, etag: str, modified: datetime) -> bool:
    """Whether a range counts: with If-Range only while the content is the one that it names."""
    condition = headers.get("if-range")
    return condition is None or condition.strip() == etag or _date(condition) == modified


def _date(header: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return found if found.tzinfo else None
