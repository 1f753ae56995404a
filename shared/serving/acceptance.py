"""Acceptance of a request: everything that can be known about it is checked, then it is stored and enqueued, once."""

import asyncio
import hashlib
import json
import math
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from shared.contract.path_lists import all_named_paths, field_of
from shared.contract.request import TaskRequest
from shared.database.pool import Connection, Pool
from shared.errors import Busy, JobFailed, Rejected
from shared.fetching.web_address import AllowedHosts, WebAddress, is_web_address
from shared.files.media_roots import MediaRoots
from shared.media.probe import MediaHeader, MediaKind, ProbePool
from shared.pipeline.kept_states import most_kept
from shared.pipeline.work import WorkOf
from shared.queue.client import Queue
from shared.serving.turns import Turns
from shared.settings import Settings
from shared.tasks import callbacks, fetched_inputs, rows
from shared.tasks.cancellation import end_waiting
from shared.tasks.rows import TaskRow
from shared.tasks.submission import enqueue
from shared.tasks.workspace import check_disk_space, is_long, room_for_segments
from shared.tracing import span as tracing
from shared.vocabulary import ServiceName, TaskKind

NONE_FETCHED: Mapping[str, WebAddress] = MappingProxyType({})
UNTAKEN_LIMIT = 10  # callbacks about one task's previews: whoever asks again and again makes one each time


@dataclass(frozen=True)
class ValidatedRequest:
    """A request whose paths lead where they may and whose media has a readable header."""

    request: TaskRequest
    # Field, with its place in a list (`reference_images[0]`, `faces[0].source_file`) -> resolved input.
    paths: Mapping[str, Path]
    addresses: Mapping[str, WebAddress]  # an input that is to be fetched, of which nothing more is known
    headers: Mapping[str, MediaHeader]  # of the resolved ones
    dist_dir: Path
    fingerprint: str  # of the body and of its inputs' sizes and times of change, hexadecimal


Prepare = Callable[[ValidatedRequest], Awaitable[dict[str, Any]]]


class Acceptance:
    """Accepts the requests of one service."""

    def __init__(self, service: ServiceName, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._roots = MediaRoots(settings)
        self._hosts = AllowedHosts(settings.fetch)
        self._probes = ProbePool(settings)
        self._turns = Turns(1)  # each holds the service's lock: several would only wait for it in the database

    async def accept(
        self,
        pool: Pool,
        queue: Queue,
        request: TaskRequest,
        *,
        inputs: Mapping[str, MediaKind],
        kind: TaskKind,
        prepare: Prepare | None,
        work: WorkOf | None = None,
    ) -> bool:
        """Accept a task durably; return whether it is new, False for one that was known already.

        Raises Rejected, UnreadableMedia, Busy or Unavailable. What `prepare` rejects, and more work than the settings
        allow, is raised for a new task only.
        """
        traceparent = tracing.current().traceparent  # here: `store` may run in another's turn
        checked = await self._check(request, inputs, work)
        context, refusal = await _prepared(prepare, checked)
        context |= fetched_inputs.note_of(inputs, checked.addresses)
        details, excess = self._estimated(work, checked)
        refusal = refusal or excess

        async def store(connection: Connection) -> bool:
            await rows.lock_service(connection, self._service)
            if await self._is_known(connection, queue, checked, kind):
                return False
            if refusal:
                raise refusal
            if await rows.waiting(connection, self._service, kind) >= self._settings.limits.max_queued:
                raise Busy("queue_full", limit=self._settings.limits.max_queued)
            await enqueue(
                connection,
                queue,
                service=self._service,
                kind=kind,
                task_id=request.task_id,
                fingerprint=checked.fingerprint,
                request=request.model_dump(mode="json"),
                context=context,
                version=self._settings.version,
                details=details,
                traceparent=traceparent,
            )
            return True

        return await self._turns.run(pool, store)

    async def close(self) -> None:
        """End the processes that read media headers."""
        await self._probes.close()

    async def _check(
        self, request: TaskRequest, inputs: Mapping[str, MediaKind], work: WorkOf | None
    ) -> ValidatedRequest:
        """Check everything that can be known before storing anything: paths, headers, disk."""
        addresses = self._addresses(request, inputs)
        paths, dist_dir, fingerprint = await asyncio.to_thread(self._resolve, request, inputs, addresses)
        kinds = {name: inputs[field_of(name)] for name in paths}
        headers = {name: await self._probes.probe(paths[name], kind) for name, kind in kinds.items()}
        await asyncio.to_thread(self._check_room_for_segments, dist_dir, paths, headers, work)
        return ValidatedRequest(request, paths, addresses, headers, dist_dir, fingerprint)

    def _addresses(self, request: TaskRequest, inputs: Iterable[str]) -> dict[str, WebAddress]:
        """Return the inputs that are to be fetched; raise Rejected. Nothing is looked up: that is the runner's part."""
        if not self._hosts.any:
            return {}
        named = _paths_of(request.model_dump(mode="json"), inputs)
        fetched = {name: text for name, text in named.items() if is_web_address(text) and not self._roots.maps(text)}
        return {name: self._hosts.address(name, text) for name, text in fetched.items()}

    def _estimated(self, work: WorkOf | None, checked: ValidatedRequest) -> tuple[dict[str, Any], Rejected | None]:
        """Return the details with the work of the request's video, and why that is too much, if it is."""
        video = next((field for field, header in checked.headers.items() if header.kind == "video"), None)
        if work is None or video is None:
            return {}, None
        header = checked.headers[video]
        each = work(header.width, header.height, header.frame_rate)
        details = {"work": each.estimate(header.frame_count)}
        try:
            each.check(header.frame_count or 1, name=checked.paths[video].name, limits=self._settings.limits)
        except Rejected as excess:
            return details, excess
        return details, None

    def _resolve(
        self, request: TaskRequest, inputs: Iterable[str], addresses: Mapping[str, WebAddress] = NONE_FETCHED
    ) -> tuple[dict[str, Path], Path, str]:
        """Look at the file system, which may be slow: return the inputs, the output folder, and the fingerprint."""
        fields = request.model_dump(mode="json")
        named = _paths_of(fields, inputs)
        paths = {name: self._roots.input(name, path) for name, path in named.items() if name not in addresses}
        dist_dir = self._roots.dist_dir("dist_dir", request.dist_dir)
        stats = [_stat(field, path) for field, path in paths.items()]
        try:
            check_disk_space([dist_dir], sum(stat.st_size for stat in stats))
            check_disk_space([self._settings.state_dir])  # no copy of an input is made there
        except JobFailed as problem:
            raise Rejected(problem.key, **problem.facts) from problem
        fields |= {name: str(path) for name, path in paths.items()} | {"dist_dir": str(dist_dir)}
        fields |= {name: address.url for name, address in addresses.items()}
        identity = [fields, [(stat.st_size, stat.st_mtime_ns) for stat in stats]]
        return paths, dist_dir, hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _check_room_for_segments(
        self,
        dist_dir: Path,
        paths: Mapping[str, Path],
        headers: Mapping[str, MediaHeader],
        work: WorkOf | None = None,
    ) -> None:
        """Raise Rejected unless a long video has room twice, and for what its pipeline remembers: its segments stay
        until the result is complete.
        """  # fmt: skip
        wanted = self._settings.limits.segment_seconds
        need = 0
        for name, header in headers.items():
            if is_long(header, wanted):
                need += room_for_segments(_stat(name, paths[name]).st_size, header, wanted)
                need += _remembered(work, header)
        if not need:
            return
        try:
            check_disk_space([dist_dir], need)
        except JobFailed as problem:
            raise Rejected(problem.key, **problem.facts) from problem

    async def _is_known(self, connection: Connection, queue: Queue, checked: ValidatedRequest, kind: TaskKind) -> bool:
        """Answer a body that was posted before; True when there is nothing to run. Raises Rejected."""
        task_id = checked.request.task_id
        for row in await rows.active(connection, self._service, task_id, kind=kind):
            if row.fingerprint == checked.fingerprint:
                if row.cancel:
                    raise Rejected("task_stopping", task_id=task_id)
                return True
            if kind == "generate":
                raise Rejected("task_active", task_id=task_id, state=row.state)
            if row.state == "queued":
                if await callbacks.untaken(connection, self._service, kind, task_id) >= UNTAKEN_LIMIT:
                    raise Busy("callbacks_waiting", limit=UNTAKEN_LIMIT, task_id=task_id)
                await end_waiting(connection, queue, row, JobFailed("superseded"), self._settings.language)
        last = await rows.newest_of(connection, self._service, kind, task_id, checked.fingerprint)
        if last and last.state == "succeeded" and await asyncio.to_thread(_files_exist, checked.dist_dir, last):
            await callbacks.enqueue_callback(connection, queue, last)
            return True
        return False


async def _prepared(prepare: Prepare | None, checked: ValidatedRequest) -> tuple[dict[str, Any], Rejected | None]:
    """Return the context of a task, or why there cannot be one."""
    try:
        return (await prepare(checked) if prepare else {}), None
    except Rejected as refusal:
        return {}, refusal


def _paths_of(fields: Mapping[str, Any], inputs: Iterable[str]) -> dict[str, str]:
    """Return the paths of a stored request's inputs under their names; `inputs` are called as `field_of` does."""
    named = all_named_paths(fields)
    return {name: text for field in inputs for name, text in named.items() if field_of(name) == field}


def _remembered(work: WorkOf | None, header: MediaHeader) -> int:
    """Return how many bytes the segments of a video keep for those behind them, at most."""
    if work is None:
        return 0
    each = work(header.width, header.height, header.frame_rate).remembered
    return each * most_kept(math.ceil(header.duration_seconds))  # a segment is longer than a second


def _stat(field: str, path: Path) -> os.stat_result:
    """Look at an input again: since it was checked it may have gone."""
    try:
        return path.stat()
    except OSError as error:
        raise Rejected("file_missing", field=field, name=path.name) from error


def _files_exist(dist_dir: Path, row: TaskRow) -> bool:
    """Whether every file that a callback told of is still there."""
    result = row.result or {}
    names = [result.get("video_url"), result.get("preview_image"), *cast("list[str]", result.get("reference_images"))]
    return all((dist_dir / name).is_file() for name in names if name)
