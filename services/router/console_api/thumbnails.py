"""Thumbnails: each is made once, whoever asks for it at the same time, and the newest are kept in memory."""

import asyncio

from shared.files.handles import InputFile
from shared.media.probe import ProbePool

KEPT_BYTES = 64 << 20


class Thumbnails:
    """JPEGs by their ETag, which names the file's content, the width and the place."""

    def __init__(self, probes: ProbePool, kept_bytes: int = KEPT_BYTES) -> None:
        self._probes = probes
        self._kept_bytes = kept_bytes
        self._kept: dict[str, bytes] = {}  # the one that was asked for last comes last
        self._size = 0
        self._making: dict[str, asyncio.Lock] = {}

    async def get(self, key: str, file: InputFile, width: int, *, at: float | None, frame: int | None) -> bytes:
        """Return the JPEG of an opened file; raise UnreadableMedia, Busy or Unavailable."""
        lock = self._making.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (known := self._kept.pop(key, None)) is None:
                    known = await self._probes.thumbnail(file, width, at=at, frame=frame)
                    self._size += len(known)
                self._kept[key] = known
                self._forget()
                return known
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    def _forget(self) -> None:
        while self._size > self._kept_bytes:
            oldest = next(iter(self._kept))
            self._size -= len(self._kept.pop(oldest))
