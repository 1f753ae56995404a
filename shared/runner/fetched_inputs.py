"""Before a task's pipeline begins: its inputs that are URLs become files, once for all of its attempts.

They lie hidden beside the task's results, where every host finds them, until the task ends. What the HTTP face would
have checked of a local file is checked here, in the same way; what is wrong with it is then the end of the task.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from shared.contract.path_lists import all_named_paths
from shared.errors import JobFailed
from shared.fetching.fetcher import Fetcher
from shared.fetching.partial_file import PartialFile, open_fetched
from shared.fetching.web_address import AllowedHosts, WebAddress
from shared.files.handles import InputFile, OutputDir
from shared.media.media_info import MediaHeader, MediaKind
from shared.media.probe import ProbePool
from shared.runner.cancellation import until_stopped
from shared.settings import Settings
from shared.tasks.fetched_inputs import wanted
from shared.tasks.rows import TaskRow
from shared.tasks.workspace import check_disk_space, room_for_segments
from shared.tracing import span as tracing

# Nobody waits for an answer here, and a runner has what everything else leaves of a busy processor.
HEADER_SECONDS, PROBE_START_SECONDS = 60.0, 300.0

logger = logging.getLogger(__name__)


class FetchedInputs:
    """The inputs of one task that are fetched, for one attempt."""

    def __init__(self, row: TaskRow, settings: Settings, open_folder: Callable[[], OutputDir]) -> None:
        self._row = row
        self._settings = settings
        self._open_folder = open_folder
        self._hosts = AllowedHosts(settings.fetch)
        self.fields: Mapping[str, MediaKind] = wanted(row)
        named = all_named_paths(row.request)
        self._urls = {name: named[name] for name in self.fields}

    @property
    def names(self) -> dict[str, str]:
        """The bare names of the files, by field, for messages."""
        return {field: WebAddress.read(self._urls[field]).name for field in self.fields}

    def open(self, path: str) -> InputFile | None:
        """Open what was fetched for an input of the request; None for one that is a local path.

        Raises JobFailed where the file has gone, UnreadableMedia for what is no regular file.
        """
        field = self._holder(path)
        if field is None:
            return None
        address = WebAddress.read(path)
        with self._open_folder() as folder:
            try:
                file = open_fetched(folder, self._row.mark, field)
            except OSError as error:
                raise JobFailed("fetch_gone", name=address.name) from error
        return replace(file, name=address.name, origin=address.url)

    def _holder(self, path: str) -> str | None:
        """Return the first field with that URL: what several fields name is fetched once."""
        return next((field for field in self.fields if self._urls[field] == path), None)

    async def bring(self, check: Callable[[], None]) -> dict[str, MediaHeader]:
        """Fetch what is not here yet and return what each file is, by field.

        `check` raises when the task must stop, which happens at once. Raises a Problem with one sentence.
        """
        return await until_stopped(self._bring(), check)

    async def _bring(self) -> dict[str, MediaHeader]:
        if not self._hosts.any:
            raise JobFailed("fetch_off", field=next(iter(self.fields)))
        probes = ProbePool(self._settings, limit_seconds=HEADER_SECONDS, start_seconds=PROBE_START_SECONDS)
        try:
            return {field: await self._one(field, kind, probes) for field, kind in self.fields.items()}
        finally:
            await probes.close()

    async def _one(self, field: str, kind: MediaKind, probes: ProbePool) -> MediaHeader:
        address = self._hosts.address(field, self._urls[field])  # again: the settings may be others by now
        holder = self._holder(self._urls[field]) or field
        with await asyncio.to_thread(self._open_folder) as folder:
            try:
                (await asyncio.to_thread(open_fetched, folder, self._row.mark, holder)).close()
            except OSError:
                await self._fetch(holder, address, folder)
        file = await asyncio.to_thread(self.open, self._urls[field])
        assert file is not None
        with file:
            header = await probes.probe_open(file, kind)
            await asyncio.to_thread(self._check_room_for_segments, file.size, header)
        return header

    async def _fetch(self, field: str, address: WebAddress, folder: OutputDir) -> None:
        begun = time.monotonic()

        def check_room(need_bytes: int) -> None:
            check_disk_space([folder.path], need_bytes)

        with tracing.span("fetch") as span:
            part = await asyncio.to_thread(PartialFile.open, folder, self._row.mark, field, str(self._row.attempt))
            try:
                inherited = part.size
                await Fetcher(self._settings.fetch).fetch(address, part, check_room)
                span.note({"kinora.bytes": part.size - inherited})
                await asyncio.to_thread(part.finish)
            finally:
                await asyncio.to_thread(part.close)
        logger.info(
            "task %s: %s fetched from %s: %s bytes, %s of them by an earlier attempt, in %.1f s",
            self._row.task_id, field, address, part.size, inherited, time.monotonic() - begun,
        )  # fmt: skip

    def _check_room_for_segments(self, size: int, header: MediaHeader) -> None:
        with self._open_folder() as folder:
            check_disk_space([folder.path], room_for_segments(size, header, self._settings.limits.segment_seconds))
