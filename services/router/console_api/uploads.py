"""Uploads: streamed to a hidden name, synced, found to be media, then given their own name; never over another file.

What breaks off leaves nothing, and what a killed process left is swept at the next start; a lock on the file says
whether its upload still lives.
"""

import asyncio
import fcntl
import os
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import PurePath

from starlette.requests import Request

from services.router.console_api.upload_leftovers import UploadLeftovers, part_of
from shared.contract.fields import Integer
from shared.contract.json_values import read_text
from shared.errors import JobFailed, Rejected, Unavailable, UnreadableMedia
from shared.files.handles import InputFile, OutputDir, OutputFile, is_full
from shared.files.listing import Entry, look
from shared.files.media_roots import MediaRoots
from shared.http.responses import (
    FORBIDDEN,
    HEAD_TOO_SLOW,
    NO_ROOM,
    NOT_FOUND,
    TOO_LONG,
    TOO_MANY,
    UNAVAILABLE,
    UNSUPPORTED,
    HttpProblem,
)
from shared.media.media_type import HEAD_BYTES, media_type
from shared.media.probe import ProbePool
from shared.settings import Settings

AT_ONCE = 4
SILENT_SECONDS = 60.0  # without a byte, after which an upload is given up
RESERVE_BYTES = 1 << 30  # that the disk keeps
LONGEST_NAME = 200  # bytes; a number may be added
_BUFFER_BYTES = 1 << 20
_LOOK_SECONDS = 0.25  # how soon a silence or a stop is noticed
_SIZE = Integer(0)


class Uploads:
    """Takes uploads, a few at a time."""

    def __init__(self, settings: Settings, roots: MediaRoots, probes: ProbePool, stopping: Callable[[], bool]) -> None:
        self._limit = settings.console.upload_max_mb << 20
        self._roots = roots
        self._probes = probes
        self._stopping = stopping
        self._under_way = 0
        self.leftovers = UploadLeftovers(settings.state_dir / "console" / "uploads.json", roots)

    async def check(self, request: Request) -> None:
        """Raise what `store` would raise before it takes a byte, for a file of so many `bytes` under a name."""
        query = request.query_params
        size = _SIZE.read("bytes", query["bytes"]) if query.get("bytes") else 0
        read_name(query.get("name", ""))
        (await self._target(query.get("folder", ""), size)).close()

    async def store(self, request: Request) -> Entry:
        """Store the body of a request under the name in its query; raise HttpProblem, Rejected or UnreadableMedia."""
        name = read_name(request.query_params.get("name", ""))
        told = request.headers.get("content-length", "")
        expected = int(told) if told.isdecimal() else None
        folder = await self._target(request.query_params.get("folder", ""), expected or 0)
        if self._under_way >= AT_ONCE:
            folder.close()
            raise HttpProblem(TOO_MANY, "too_many_uploads", limit=AT_ONCE)
        token = self.leftovers.begin(folder.path)
        self._under_way += 1
        try:
            with folder:
                return await self._receive(request, folder, name, token)
        finally:
            self.leftovers.end(token)
            self._under_way -= 1

    async def _receive(self, request: Request, folder: OutputDir, name: str, token: str) -> Entry:
        path = PurePath(name)
        try:
            output = await asyncio.to_thread(folder.create, path.stem, path.suffix, part=part_of(token))
        except OSError as error:
            raise _write_refusal(error, folder) from error
        with output:
            fcntl.flock(output.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await self._write(request, folder, output)
            await self._check_media(output)
            try:
                stored = await asyncio.to_thread(output.publish)
            except JobFailed as problem:  # as the jobs' results; what the disk said is its cause
                cause = problem.__cause__
                raise (_write_refusal(cause, folder) if isinstance(cause, OSError) else problem) from problem
        entry = await asyncio.to_thread(look, self._roots, folder, stored)
        if entry is None:
            raise HttpProblem(NOT_FOUND, "file_missing", field="name", name=stored)
        return entry

    async def _write(self, request: Request, folder: OutputDir, output: OutputFile) -> None:
        size, buffer, checked = 0, bytearray(), False
        async for chunk in self._chunks(request):
            buffer += chunk or b""
            self._check_size(size + len(buffer))
            if not checked and (len(buffer) >= HEAD_BYTES or chunk is None):
                _check_beginning(bytes(buffer[:HEAD_BYTES]), output.name)
                checked = True
            if buffer and (chunk is None or len(buffer) >= _BUFFER_BYTES):
                try:
                    await asyncio.to_thread(_write_all, output.fd, bytes(buffer))
                except OSError as error:
                    raise _write_refusal(error, folder) from error
                size += len(buffer)
                buffer.clear()
                await asyncio.to_thread(_check_room, folder, 0)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes | None]:
        """Yield the parts of a body, then None; raise HttpProblem when none comes for long, or the process stops."""
        parts = aiter(request.stream())
        while True:
            coming = asyncio.ensure_future(anext(parts, None))
            begun = time.monotonic()
            try:
                while not (await asyncio.wait({coming}, timeout=_LOOK_SECONDS))[0]:
                    if self._stopping():
                        raise HttpProblem(UNAVAILABLE, "not_ready")
                    if time.monotonic() - begun > SILENT_SECONDS:
                        raise HttpProblem(HEAD_TOO_SLOW, "upload_silent", seconds=f"{SILENT_SECONDS:g}")
                part = coming.result()
            finally:
                coming.cancel()
            yield part
            if part is None:
                return

    async def _check_media(self, output: OutputFile) -> None:
        """Raise UnreadableMedia unless it is a video or a picture that the services can read."""
        status = os.fstat(output.fd)
        descriptor = os.dup(output.fd)
        with InputFile(descriptor, output.name, status.st_size, status.st_mtime_ns) as file:
            try:
                await self._probes.probe_open(file, "picture_or_video")
            except Unavailable:  # an installation without codecs: its first bytes must do
                if media_type(os.pread(descriptor, HEAD_BYTES, 0)) is None:
                    raise UnreadableMedia("media_unreadable", name=output.name) from None

    def _check_size(self, size: int) -> None:
        if not self._limit:
            raise HttpProblem(FORBIDDEN, "uploads_off")
        if size > self._limit:
            raise HttpProblem(TOO_LONG, "upload_too_large", limit=self._limit >> 20)

    async def _target(self, value: str, size: int) -> OutputDir:
        """Open the folder for a file of this size; raise what speaks against it."""
        self._check_size(size)
        folder = await asyncio.to_thread(self._folder, value)
        try:
            await asyncio.to_thread(_check_room, folder, size)
        except BaseException:
            folder.close()
            raise
        return folder

    def _folder(self, value: str) -> OutputDir:
        try:
            folder = self._roots.folder("folder", value)
        except Rejected as problem:
            raise HttpProblem(NOT_FOUND, problem.key, **problem.facts) from problem
        try:
            folder.check_writable()
        except OSError as error:
            folder.close()
            raise _write_refusal(error, folder) from error
        return folder


def read_name(value: str) -> str:
    """Return the bare name of an upload, composed as this machine writes it; raise Rejected."""
    name = unicodedata.normalize("NFC", read_text("name", value))
    controls = any(unicodedata.category(character) == "Cc" for character in name)
    if not name or name.startswith(".") or "/" in name or controls or len(name.encode()) > LONGEST_NAME:
        raise Rejected("name_refused", limit=LONGEST_NAME)
    return name


def _check_beginning(head: bytes, name: str) -> None:
    """Raise early for what is a text, such as a page or a drawing of markup: it need not come whole."""
    if not head:
        raise UnreadableMedia("media_empty", name=name)
    with suppress(UnicodeDecodeError):
        if media_type(head) is None and "\0" not in head[:-3].decode():
            raise HttpProblem(UNSUPPORTED, "media_unreadable", name=name)


def _check_room(folder: OutputDir, need: int) -> None:
    if folder.free_bytes < need + RESERVE_BYTES:
        raise HttpProblem(NO_ROOM, "folder_full", field="folder", name=folder.path.name)


def _write_refusal(error: OSError, folder: OutputDir) -> HttpProblem:
    if is_full(error):
        return HttpProblem(NO_ROOM, "folder_full", field="folder", name=folder.path.name)
    reason = os.strerror(error.errno or 5)
    return HttpProblem(FORBIDDEN, "folder_unwritable", field="folder", name=folder.path.name, reason=reason)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
