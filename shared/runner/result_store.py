"""Results that also go into a bucket of an S3-compatible store, before the task ends and its callback leaves.

The files in `dist_dir` are the result; a store that is away only costs the copy, and a bounded time. This is the only
module that uses obstore, which reads the usual `AWS_` variables itself.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.files.handles import InputFile, OutputDir
from shared.files.hashing import sha256_of
from shared.media.media_type import HEAD_BYTES, media_type
from shared.pipeline.job import Result
from shared.settings import StoreSettings
from shared.tasks.rows import TaskRow
from shared.tracing import span as tracing

if TYPE_CHECKING:
    from obstore.store import S3Store

TRIES = 3
PAUSES = (2.0, 8.0)  # seconds after the first tries
PART_BYTES = 8 << 20  # of a multipart upload; so much is in memory for each that is under way
MOST_PARTS = 9000  # a little below the 10,000 that a store takes
PARTS_AT_ONCE = 4
REMOVE_SECONDS = 10.0
LONGEST_REASON = 300  # characters in the log

logger = logging.getLogger(__name__)


class NotStored(Exception):
    """The results are not in the bucket; the message says why, in few fixed words."""


class ResultStore:
    """The bucket of the settings, for one attempt."""

    def __init__(self, row: TaskRow, settings: StoreSettings, open_folder: Callable[[], OutputDir]) -> None:
        self._row = row
        self._settings = settings
        self._open_folder = open_folder
        bucket, _, self._prefix = (settings.url or "").removeprefix("s3://").partition("/")
        self._bucket = bucket
        self._put: list[str] = []  # keys of what was put, or begun to be

    @property
    def used(self) -> bool:
        """Whether results go into a bucket at all."""
        return self._settings.url is not None

    async def put(self, result: Result) -> dict[str, Any]:
        """Put every file of a result into the bucket; return what the task's details say of it.

        `{"ok": True, "files": {name: URL}}`, or `{"ok": False, "reason": …}` where that failed or took too long.
        """
        names = [name for name in (result.video, result.preview, *result.references) if name]
        with tracing.span("store") as span:
            try:
                async with asyncio.timeout(self._settings.seconds):
                    files = await self._put_all(names)
            except TimeoutError:
                reason = "timeout"
            except NotStored as problem:
                reason = str(problem)
            else:
                return {"ok": True, "files": files}
            span.fail(reason)
        logger.warning("task %s: its results are not in the bucket: %s", self._row.task_id, reason)
        return not_stored(reason)

    async def withdraw(self) -> None:
        """Remove from the bucket what was put there, as far as that is possible: the task has no result."""
        if not self._put:
            return
        with suppress(Exception):  # a copy more in the bucket harms no task
            import obstore  # noqa: PLC0415

            async with asyncio.timeout(REMOVE_SECONDS):
                await obstore.delete_async(self._open(), self._put)
            self._put.clear()

    async def _put_all(self, names: Sequence[str]) -> dict[str, str]:
        try:
            store = self._open()
        except ImportError as error:
            raise NotStored("library_missing") from error
        except Exception as error:
            raise NotStored(_reason(error)) from error
        await self._remove_of_dead_attempts(store)
        return {name: await self._put_one(store, name) for name in names}

    async def _remove_of_dead_attempts(self, store: "S3Store") -> None:
        """Remove what an attempt put there whose process died before the task's end, as far as that is possible."""
        if self._row.attempt == 1:
            return
        with suppress(Exception):  # whoever may only put has them left
            import obstore  # noqa: PLC0415

            found = [meta["path"] async for page in obstore.list(store, self._key("")) for meta in page]
            await obstore.delete_async(store, [key for key in found if key.startswith(self._key(self._row.mark))])

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self._prefix, self._row.service, str(self._row.task_id), name) if part)

    async def _put_one(self, store: "S3Store", name: str) -> str:
        """Put one file, again after a failure that may pass; return its URL. Raises NotStored."""
        key = self._key(name)
        with await asyncio.to_thread(self._opened, name) as file:
            about = await asyncio.to_thread(_attributes, file)
            self._put.append(key)
            for number in range(1, TRIES + 1):
                try:
                    await _upload(store, key, file, about)
                    break
                except Exception as error:
                    reason = _reason(error)
                    logger.info("task %s: try %s to store %s: %s", self._row.task_id, number, name, _short(error))
                    if reason != "unreachable" or number == TRIES:
                        raise NotStored(reason) from error
                    await asyncio.sleep(PAUSES[number - 1])
        logger.info("task %s: %s is in the bucket, %s bytes", self._row.task_id, name, file.size)
        return f"s3://{self._bucket}/{key}"

    def _opened(self, name: str) -> InputFile:
        with self._open_folder() as folder:
            return folder.open_hidden(name)

    def _open(self) -> "S3Store":
        from obstore.store import S3Store  # noqa: PLC0415  # of the extra `s3`; only where a bucket is set

        return S3Store(
            self._bucket,
            # Whether the endpoint is http is its writer's decision. A part may take long on its way.
            client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "120s"},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
        )


def not_stored(reason: str) -> dict[str, Any]:
    """Return what the details of a task say whose results are not in the bucket."""
    return {"ok": False, "reason": reason}


async def _upload(store: "S3Store", key: str, file: InputFile, about: Mapping[str, str]) -> None:
    import obstore  # noqa: PLC0415  # as above

    await obstore.put_async(
        store,
        key,
        Path(file.url),  # read part by part
        attributes=dict(about),
        chunk_size=max(PART_BYTES, file.size // MOST_PARTS + 1),
        max_concurrency=PARTS_AT_ONCE,
    )


def _attributes(file: InputFile) -> dict[str, str]:
    """Return an object's type, by its content, and its hash."""
    with Path(file.url).open("rb") as content:
        kind = media_type(content.read(HEAD_BYTES))
    return {"Content-Type": kind or "application/octet-stream", "sha256": sha256_of(Path(file.url))}


def _reason(error: Exception) -> str:
    """Return in a fixed word why the store did not take a file: its own words hold addresses and more."""
    match type(error).__name__:
        case "PermissionDeniedError" | "UnauthenticatedError":
            return "refused"
        case "FileNotFoundError" | "NotFoundError":
            return "no_bucket"
        case "UnknownConfigurationKeyError" | "InvalidPathError" | "ValueError":
            return "misconfigured"
    return "unreachable"


def _short(error: Exception) -> str:
    """Return the first line of what a store said; its document behind that may quote what was signed."""
    return str(error).partition("<?xml")[0].partition("\n")[0][:LONGEST_REASON]
