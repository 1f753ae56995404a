"""Reading media headers for the HTTP face, in processes that a hostile file may crash, hang or fill with data.

This module imports no codec: the HTTP face stays small, and a demuxer's crash ends a worker, and no other request.
"""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from shared.errors import Busy, Unavailable, UnreadableMedia
from shared.files.handles import InputFile
from shared.files.media_roots import MediaRoots
from shared.media.media_info import MediaHeader, MediaKind
from shared.process.lifetime import deaf_to_stops
from shared.settings import Settings

__all__ = ["MediaHeader", "MediaKind", "ProbePool"]

logger = logging.getLogger(__name__)

LIMIT_SECONDS = 2.0
START_SECONDS = 20.0  # for a worker to import its codecs on a machine under full load
_WORKERS = 2
_MOST_WAITING = 500  # files; each is read within seconds at the worst, and within milliseconds as a rule
_TURN_SECONDS = 20.0  # the longest wait for a worker, well within the time that BentoML gives a request
_REPLY_BYTES = 65536
_PICTURE_BYTES = 16 << 20  # far above any thumbnail; a worker that a file took over may say anything


class ProbePool:
    """Reads headers in at most two worker processes, started when first needed and gone after idle minutes."""

    def __init__(
        self, settings: Settings, *, limit_seconds: float = LIMIT_SECONDS, start_seconds: float = START_SECONDS
    ) -> None:
        """`limit_seconds` are for the header of one file, `start_seconds` for a worker that is not running yet."""
        self._roots = MediaRoots(settings)
        self._limit_seconds = limit_seconds
        self._start_seconds = start_seconds
        self._slots = asyncio.Semaphore(_WORKERS)
        self._waiting = 0
        self._idle: list[_Worker] = []
        self._farewells: set[asyncio.Task[None]] = set()

    async def probe(self, path: Path, kind: MediaKind) -> MediaHeader:
        """Return the header of a file inside the media roots.

        Raises UnreadableMedia for what is not of that kind, breaks the worker twice or takes more than two seconds;
        Rejected for a path that leads outside by now; Busy when too many files wait; Unavailable when no worker starts.
        """
        async with self._slot():
            with await asyncio.to_thread(self._roots.open_input, path) as file:
                return await self._read(file, kind)

    async def probe_open(self, file: InputFile, kind: MediaKind) -> MediaHeader:
        """Return the header of a file that is open already; raises as `probe` does."""
        async with self._slot():
            return await self._read(file, kind)

    async def thumbnail(self, file: InputFile, width: int, *, at: float | None, frame: int | None) -> bytes:
        """Return a JPEG as `shared.media.thumbnail` makes it; raises as `probe` does."""
        question = {"width": width, "at": at, "frame": frame}
        async with self._slot():
            picture = os.memfd_create("thumbnail", os.MFD_CLOEXEC)
            try:
                reply = await self._ask(file, question, picture)
                return os.pread(picture, min(int(reply["bytes"]), _PICTURE_BYTES), 0)
            finally:
                os.close(picture)

    async def close(self) -> None:
        """End the workers; a later `probe` starts new ones."""
        while self._idle:
            await self._take_idle().kill()
        await asyncio.gather(*self._farewells)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        await self._take_slot()
        try:
            yield
        finally:
            self._slots.release()

    async def _take_slot(self) -> None:
        if self._waiting >= _MOST_WAITING:
            raise Busy("requests_waiting")
        self._waiting += 1
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Busy("requests_waiting") from error
        finally:
            self._waiting -= 1

    def _keep(self, worker: "_Worker") -> None:
        """Let a worker wait for the next file, and notice its end: it leaves after idle minutes, or is killed."""
        self._idle.append(worker)
        # An idle worker says nothing: there is something to read only when it has gone.
        asyncio.get_running_loop().add_reader(worker.link, self._let_go, worker)

    def _take_idle(self) -> "_Worker":
        worker = self._idle.pop()
        asyncio.get_running_loop().remove_reader(worker.link)
        return worker

    def _let_go(self, worker: "_Worker") -> None:
        """Collect the exit status of a worker that has gone, or the kernel would keep it as a zombie."""
        asyncio.get_running_loop().remove_reader(worker.link)
        self._idle.remove(worker)
        farewell = asyncio.create_task(worker.kill())
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    async def _read(self, file: InputFile, kind: MediaKind) -> MediaHeader:
        return MediaHeader.from_json((await self._ask(file, {"kind": kind}))["header"])

    async def _ask(self, file: InputFile, question: dict[str, Any], *output: int) -> dict[str, Any]:
        """Return a worker's answer about a file, which may go to the descriptor `output`; raise UnreadableMedia."""
        # A worker may have ended for another reason: idle for long, or killed. Only a file that also crashes a new
        # worker is the cause.
        for fresh in (False, True):
            worker = self._take_idle() if self._idle and not fresh else await _Worker.start(self._start_seconds)
            healthy = False
            try:
                async with asyncio.timeout(self._limit_seconds):
                    reply = await worker.ask(file, question, *output)
                healthy = True
            except TimeoutError as problem:
                seconds = f"{self._limit_seconds:g}"
                raise UnreadableMedia("media_probe_timeout", name=file.name, seconds=seconds) from problem
            except (ConnectionError, EOFError):
                continue
            finally:
                if healthy:
                    self._keep(worker)
                else:
                    await worker.kill()
            if "problem" in reply:
                raise UnreadableMedia(reply["problem"], **reply["facts"])
            return reply
        raise UnreadableMedia("media_probe_crashed", name=file.name)


class _Worker:
    """One worker process and the socket to it; files cross as descriptors, never as names."""

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket) -> None:
        self._process = process
        self.link = link

    @classmethod
    async def start(cls, patience_seconds: float) -> Self:
        """Start a process and wait until it has loaded its codecs."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        # Started from the event loop's own thread: the kernel ends a worker with the thread that started it.
        # A service that was told to stop still answers what it accepted: its worker must not be stopped before it.
        with theirs, deaf_to_stops():
            process = subprocess.Popen(  # noqa: ASYNC220  # returns after the fork; a helper thread would end with it
                [sys.executable, "-m", "shared.media.probe_worker", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        worker = cls(process, ours)
        try:
            async with asyncio.timeout(patience_seconds):
                await worker.hear()
        except (TimeoutError, ConnectionError, EOFError) as problem:
            await worker.kill()
            logger.warning("a process that reads media headers did not start: exit status %s", worker.exit_status)
            raise Unavailable("probe_unavailable") from problem
        except BaseException:
            await worker.kill()
            raise
        return worker

    async def ask(self, file: InputFile, question: dict[str, Any], *output: int) -> dict[str, Any]:
        """Send an open file; ConnectionError or EOFError when the worker has ended."""
        question = {"name": file.name, "size": file.size, "mtime_ns": file.mtime_ns} | question
        socket.send_fds(self.link, [json.dumps(question).encode()], [file.fd, *output])
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        """Wait for the next message."""
        message = await asyncio.get_running_loop().sock_recv(self.link, _REPLY_BYTES)
        if not message:
            raise EOFError
        answer: dict[str, Any] = json.loads(message)
        return answer

    @property
    def exit_status(self) -> int | None:
        """Return the process's exit status, negative for a signal; None while it lives."""
        return self._process.returncode

    async def kill(self) -> None:
        """End the process for good."""
        self.link.close()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
