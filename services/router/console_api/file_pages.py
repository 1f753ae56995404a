"""The media roots in a browser: folders, files with ranges, headers, thumbnails."""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.router.console_api.guard import ROOT
from services.router.console_api.media_file import answer, etag_of, type_of
from services.router.console_api.thumbnails import Thumbnails
from services.router.console_api.uploads import Uploads
from shared.contract.fields import Integer, Number
from shared.contract.json_values import read_text
from shared.contract.messages import Answer
from shared.errors import Rejected, UnreadableMedia
from shared.files.handles import InputFile
from shared.files.listing import Entry, Page, list_folder, search
from shared.files.media_roots import MediaRoots
from shared.http.record_routes import read_words
from shared.http.responses import NOT_FOUND, HttpProblem
from shared.media.probe import ProbePool
from shared.settings import Settings

_LIMIT = Integer(1, 500)
_DEFAULT_LIMIT = 200
_WIDTH = Integer(16, 1920)
_DEFAULT_WIDTH = 320
_AT = Number(0, 24 * 3600)
_FRAME = Integer(0, 2**31)
_MISSING = frozenset(
    {"path_outside", "path_relative", "path_scheme", "path_unmapped", "folder_missing", "file_missing"}
)


class FilePages:
    """The endpoints about files. Whatever touches the file system runs in threads."""

    def __init__(self, settings: Settings, stopping: Callable[[], bool]) -> None:
        self._roots = MediaRoots(settings)
        self._limit = settings.console.upload_max_mb << 20
        self._stopping = stopping
        self.probes = ProbePool(settings, limit_seconds=4.0)
        self._thumbnails = Thumbnails(self.probes)
        self.uploads = Uploads(settings, self._roots, self.probes, stopping)
        self.routes = [
            Route(f"{ROOT}/files", self._list),
            Route(f"{ROOT}/files", self._store, methods=["POST"]),
            Route(f"{ROOT}/upload", self._check_upload),
            Route(f"{ROOT}/info", self._info),
            Route(f"{ROOT}/media", self._media),
            Route(f"{ROOT}/thumbnail", self._thumbnail),
        ]

    async def close(self) -> None:
        await self.probes.close()

    async def _list(self, request: Request) -> Response:
        given = request.query_params
        limit = _LIMIT.read("limit", given["limit"]) if given.get("limit") else _DEFAULT_LIMIT
        words, folder = read_words(given), given.get("folder") or ""
        after = read_text("after", given["after"]) if given.get("after") else None
        if not folder and not words:
            roots = await asyncio.to_thread(self._read_roots)
            return JSONResponse({"roots": roots, "upload_limit_bytes": self._limit})
        page = await asyncio.to_thread(_found, self._read, folder, words, after, limit)
        return JSONResponse(_shown(page, self._roots))

    def _read(self, folder: str, words: str, after: str | None, limit: int) -> Page:
        if not words:
            return list_folder(self._roots, folder, after=after, limit=limit)
        if not folder:
            return search(self._roots, list(self._roots.roots), words, limit)
        with self._roots.folder("folder", folder) as opened:
            begin = opened.path
        return search(self._roots, [begin], words, limit)

    def _read_roots(self) -> list[dict[str, Any]]:
        return [_root(root) for root in self._roots.roots if root.is_dir()]

    async def _store(self, request: Request) -> Response:
        entry = await self.uploads.store(request)
        return JSONResponse(_entry(entry), 201)

    async def _check_upload(self, request: Request) -> Response:
        await self.uploads.check(request)
        return JSONResponse(Answer().model_dump())

    async def _info(self, request: Request) -> Response:
        with await self._open(request.query_params) as file:
            header = await self.probes.probe_open(file, "picture_or_video")
            kind = await asyncio.to_thread(type_of, file)
            modified = datetime.fromtimestamp(file.mtime_ns / 10**9, UTC)
            about = {"bytes": file.size, "modified": _time(modified), "type": kind}
        return JSONResponse(header.to_json() | about, headers={"cache-control": "private, no-cache"})

    async def _media(self, request: Request) -> Response:
        download = request.query_params.get("download", "") not in {"", "0", "false"}
        is_head = request.method == "HEAD"
        file = await self._open(request.query_params)
        try:
            kind = await asyncio.to_thread(type_of, file)
            return answer(file, kind, request.headers, is_head=is_head, download=download, stopping=self._stopping)
        except BaseException:
            file.close()
            raise

    async def _thumbnail(self, request: Request) -> Response:
        given = request.query_params
        width = _WIDTH.read("width", given["width"]) if given.get("width") else _DEFAULT_WIDTH
        at = _AT.read("at", given["at"]) if given.get("at") else None
        frame = _FRAME.read("frame", given["frame"]) if given.get("frame") else None
        with await self._open(given) as file:
            etag = f'{etag_of(file)[:-1]}-{width}-{at}-{frame}"'
            headers = {"etag": etag, "cache-control": "private, no-cache", "x-content-type-options": "nosniff"}
            if request.headers.get("if-none-match") == etag:
                return Response(None, 304, headers)
            picture = await self._thumbnails.get(etag, file, width, at=at, frame=frame)
        return Response(picture, media_type="image/jpeg", headers=headers)

    async def _open(self, query: Mapping[str, str]) -> InputFile:
        """Open the file that a query names; raise HttpProblem with 404 for what is none of the roots'."""
        value = read_text("path", query.get("path", ""))
        return await asyncio.to_thread(_found, self._open_now, value)

    def _open_now(self, value: str) -> InputFile:
        path = self._roots.input("path", value)
        if any(part.startswith(".") for part in path.relative_to(self._root_of(path)).parts):
            raise Rejected("file_missing", field="path", name=path.name)  # hidden, as in the lists
        try:
            return self._roots.open_input(path)
        except UnreadableMedia as error:  # it has gone meanwhile
            raise Rejected("file_missing", field="path", name=path.name) from error

    def _root_of(self, path: Path) -> Path:
        return next(root for root in self._roots.roots if path.is_relative_to(root))


def _found(look: Callable[..., Any], *arguments: object) -> Any:
    """Call it; what leads nowhere becomes a 404, with its sentence."""
    try:
        return look(*arguments)
    except Rejected as problem:
        if problem.key in _MISSING:
            raise HttpProblem(NOT_FOUND, problem.key, **problem.facts) from problem
        raise


def _root(root: Path) -> dict[str, Any]:
    usage = shutil.disk_usage(root)
    return {
        "name": root.name,
        "path": str(root),
        "free_bytes": usage.free,
        "total_bytes": usage.total,
        "writable": os.access(root, os.W_OK),
    }


def _shown(page: Page, roots: MediaRoots) -> dict[str, Any]:
    is_root = page.folder in roots.roots
    return {
        "folder": str(page.folder),
        "parent": None if is_root else str(page.folder.parent),
        "entries": [_entry(entry) for entry in page.entries],
        "next": page.next,
        "truncated": page.truncated,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "path": entry.path,
        "kind": entry.kind,
        "bytes": entry.size,
        "modified": _time(entry.modified),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
