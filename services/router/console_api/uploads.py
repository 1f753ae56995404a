"""Uploads: streamed to a hidden name, synced, found to be media, then given their own name; never over another file.

What breaks off leaves nothing. What a killed process left is swept at the next start: where it lies is remembered in
the state folder, and a lock on the file says whether its upload still lives.
"""

import asyncio
import fcntl
import logging
import os
import re
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import PurePath

from starlette.requests import Request

from shared.contract.json_values import read_text
from shared.errors import Rejected, Unavailable, UnreadableMedia
from shared.files.handles import InputFile, OutputDir, OutputFile, is_full
from shared.files.listing import Entry, look
from shared.files.media_roots import MediaRoots
from shared.files.remembered import Remembered
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
_PART = ".kinora-upload-{}.part"
_TOKEN = re.compile(r"[0-9a-f]{16}")

logger = logging.getLogger("bentoml.kinora.console")


class Uploads:
    """Takes uploads, a few at a time."""

    def __init__(self, settings: Settings, roots: MediaRoots, probes: ProbePool, stopping: Callable[[], bool]) -> None:
        self._limit = settings.console.upload_max_mb << 20
        self._roots = roots
        self._probes = probes
        self._stopping = stopping
        self._under_way = 0
        self._begun = Remembered(settings.state_dir / "console" / "uploads.json")  # token -> folder

    def sweep(self) -> None:
        """Remove what uploads of processes that have gone left behind."""
        for token, folder in list(self._begun.items()):
            if not _TOKEN.fullmatch(token):
                continue
            with suppress(Rejected, OSError), self._roots.folder("folder", folder) as opened:
                if not _remove_dead(opened, _PART.format(token)):
                    continue
                logger.info("removed what an upload that broke off left in %s", opened.path.name)
            del self._begun[token]

    async def store(self, request: Request) -> Entry:
        """Store the body of a request under the name in its query; raise HttpProblem, Rejected or UnreadableMedia."""
        name = read_name(request.query_params.get("name", ""))
        told = request.headers.get("content-length", "")
        expected = int(told) if told.isdecimal() else None
        self._check_size(expected or 0)
        folder = await asyncio.to_thread(self._folder, request.query_params.get("folder", ""))
        if self._under_way >= AT_ONCE:
            folder.close()
            raise HttpProblem(TOO_MANY, "too_many_uploads", limit=AT_ONCE)
        token = secrets.token_hex(8)
        self._under_way += 1
        self._begun[token] = str(folder.path)
        try:
            with folder:
                await asyncio.to_thread(_check_room, folder, expected or 0)
                return await self._receive(request, folder, name, token)
        finally:
            del self._begun[token]
            self._under_way -= 1

    async def _receive(self, request: Request, folder: OutputDir, name: str, token: str) -> Entry:
        path = PurePath(name)
        part = _PART.format(token)
        try:
            output = await asyncio.to_thread(folder.create, path.stem, path.suffix, part=part)
        except OSError as error:
            raise _write_refusal(error, folder) from error
        with output:
            fcntl.flock(output.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await self._write(request, folder, output)
            await self._check_media(output)
            stored = await asyncio.to_thread(output.publish)
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


def _remove_dead(folder: OutputDir, part: str) -> bool:
    """Remove a hidden file whose upload has gone; False while somebody holds its lock."""
    try:
        descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder.fd)
    except OSError:  # there is none
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    os.unlink(part, dir_fd=folder.fd)
    return True
