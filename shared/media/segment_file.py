"""A segment: the encoded pictures of one range of a result, in a file of its own until all of them are joined.

The file is a mark, then for each packet, in decoding order, its pts and duration in the result's ticks, whether it is a
key picture, its length and its bytes; at the end, in the same form, what the pipeline remembers there, if it remembers
anything. That can be cut off later. It is only ever read by the release that wrote it: what it holds is told by the
record beside it, with its hash.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
from av.packet import Packet

from shared.errors import JobFailed
from shared.files.handles import InputFile, OutputFile, write_problem
from shared.media.mp4_timing import Mp4Timing

_MARK = b"kinora segment 2\n"
_HEAD = struct.Struct("<qqBI")  # pts, duration, what it is, bytes
_PICTURE, _KEY_PICTURE, _STATE = 0, 1, 2


@dataclass(frozen=True)
class SegmentSummary:
    """What a segment's file holds: its length and hash, with and without what the pipeline remembers, its pictures, and
    by how many of them their order differs.
    """

    bytes: int
    sha256: str
    bare_bytes: int
    bare_sha256: str
    frames: int
    reordered: int


class SegmentWriter:
    """Writes the packets of one encoder to a file; raises JobFailed where the disk is full or the folder refuses."""

    def __init__(self, target: OutputFile, timing: Mp4Timing) -> None:
        self._target = target
        self._file: BinaryIO = os.fdopen(os.dup(target.fd), "wb")
        self._timing = timing
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._bare: tuple[int, str] | None = None  # length and hash of what lies before the state
        self._pts: list[int] = []
        self._put(_MARK)

    def write(self, packets: "Iterable[Packet[Any]]") -> None:
        for packet in packets:
            pts, content = packet.pts or 0, bytes(packet)
            kind = _KEY_PICTURE if packet.is_keyframe else _PICTURE
            self._put(_HEAD.pack(pts, self._timing.release(pts), kind, len(content)) + content)
            self._pts.append(pts)

    def write_state(self, state: bytes) -> None:
        """Write, behind all packets, what the next segment needs to know of this one."""
        self._bare = self._bytes, self._hash.hexdigest()
        self._put(_HEAD.pack(0, 0, _STATE, len(state)) + state)

    def finish(self) -> SegmentSummary:
        """Write what is buffered; return what the file holds."""
        try:
            self._file.flush()
        except OSError as error:
            raise write_problem(error, self._target.name) from error
        whole = self._bytes, self._hash.hexdigest()
        return SegmentSummary(*whole, *(self._bare or whole), len(self._pts), reordering(self._pts))

    def close(self) -> None:
        """Give the file back; what was not finished is useless."""
        with suppress(OSError):
            self._file.close()

    def _put(self, content: bytes) -> None:
        try:
            self._file.write(content)
        except OSError as error:
            raise write_problem(error, self._target.name) from error
        self._hash.update(content)
        self._bytes += len(content)


class SegmentReader:
    """Reads the packets of an opened segment whose hash was found right."""

    def __init__(self, file: InputFile) -> None:
        self._file = file

    def shown(self) -> list[tuple[int, int]]:
        """Return pts and duration of each picture, in order of presentation."""
        return sorted((pts, duration) for pts, duration, kind, _ in self._records() if kind != _STATE)

    def packets(self) -> "Iterator[Packet[Any]]":
        """Yield the packets in decoding order, without a dts."""
        for pts, duration, kind, content in self._records(_PICTURE, _KEY_PICTURE):
            if kind == _STATE:
                continue
            packet: Packet[Any] = av.Packet(content)
            packet.pts, packet.duration, packet.is_keyframe = pts, duration, kind == _KEY_PICTURE
            yield packet

    def state(self) -> bytes:
        """Return what `write_state` wrote; JobFailed where nothing was."""
        for _, _, kind, content in self._records(_STATE):
            if kind == _STATE:
                return content
        raise JobFailed("result_not_written", reason=f"{self._file.name} has no state")

    def _records(self, *read: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield pts, duration, kind and, of those kinds that are to be `read`, content of each thing in the file."""
        with open(os.open(self._file.url, os.O_RDONLY | os.O_CLOEXEC), "rb") as source:  # noqa: PTH123  # a descriptor
            if source.read(len(_MARK)) != _MARK:
                raise JobFailed("result_not_written", reason=f"{self._file.name} is no segment")
            while head := source.read(_HEAD.size):
                pts, duration, kind, length = _HEAD.unpack(head)
                if kind not in read:
                    source.seek(length, os.SEEK_CUR)
                yield pts, duration, kind, source.read(length) if kind in read else b""


def reordering(decoded: list[int]) -> int:
    """Return how many pictures later than it is shown a picture is decoded at most, from pts in decoding order."""
    place = {pts: number for number, pts in enumerate(sorted(decoded))}
    return max((number - place[pts] for number, pts in enumerate(decoded)), default=0)
