"""The finished segments of a task: hidden files in its `dist_dir`, and a ledger that says what each of them holds.

A segment is finished once its file is synced and has its name and the ledger has its record, in that order. What the
ledger does not know is not there, and what it knows is read only after its length and hash were found right: a kill at
any moment, or a hand that edits a file, costs a segment and never the result. What a pipeline remembers behind it lies
at the end of a segment's file until it is cut off: both forms of the file are whole.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, Self

from shared.errors import JobFailed, Problem, UnreadableMedia
from shared.files.handles import InputFile, OutputDir, OutputFile, write_problem

SEGMENTS = "s-"  # behind a task's mark, where the names of its attempts' files have a number


@dataclass(frozen=True)
class SegmentRecord:
    """What is known of one finished segment; times are pts of the source's frames."""

    number: int
    fingerprint: str  # of everything that decides what it holds
    bytes: int
    sha256: str
    frames: int  # of the result
    seconds: float  # of work
    made_with: str = ""  # the same as the fingerprint, in words, as far as a reader of the log needs it
    source: str = ""  # the stamp of the file that it was made from
    reordered: int = 0
    first_pts: int | None = None  # None: no frame of the source lies in its range
    next_pts: int | None = None  # of the first frame behind it; None: it is the last one
    tally: dict[str, int] = field(default_factory=dict)  # what the pipeline counted in it
    bare_bytes: int = 0  # of the file without what the pipeline remembers; the same as `bytes` where that is nothing
    bare_sha256: str = ""

    @property
    def begins_with(self) -> int | None:
        """The pts of the first frame from its beginning on, which the segment before has as `next_pts`."""
        return self.next_pts if self.first_pts is None else self.first_pts

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` made, also that of another release: its fingerprint says that it is of no use here."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: item for name, item in value.items() if name in known})


@dataclass(frozen=True)
class SegmentStart:
    """What the ledger is told of a segment that is about to be made.

    `total` is how many there are, None where the source does not tell; `frames` the first and the last one of the
    source that it covers, about, None: to the end; `replaced` the hash of a finished one that is made again. Others may
    be called to make further ones if it may be `helped`.
    """

    number: int
    total: int | None
    frames: tuple[int, int | None]
    fingerprint: str
    replaced: str | None = None
    helped: bool = True


class Ledger(Protocol):
    """Keeps the records of one task across its attempts. Called from any thread; raises JobStopped for a lost fence.

    `assigned` is the one segment that a helper is here for; None: the task's own attempt, which sees to all of them.
    """

    assigned: int | None

    def records(self) -> list[SegmentRecord]:
        """Return what was kept."""

    def total(self, fingerprint: str, planned: int | None) -> int | None:
        """Return how many segments the first attempt at these has planned; `planned` where this is the first.

        How long a source is may be measured, and measuring given up where it takes long: one attempt decides.
        """

    def begin(self, start: SegmentStart) -> bool:
        """Note that a segment is being made now; False when somebody else makes it, or has made it.

        Raises JobStopped where a helper would make it otherwise than the task's own attempt.
        """

    def confirm(self, number: int) -> None:
        """Raise JobStopped when a segment is another's by now, or the task has ended."""

    def keep(self, record: SegmentRecord) -> None:
        """Store a record, durably, before this returns."""

    def pause(self) -> None:
        """Between two segments: raise JobStopped when the run should be left to a later attempt."""


class DamagedSegment(Exception):
    """A kept segment that cannot be used, with the reason."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"segment {number}: {reason}")
        self.number = number


class SegmentStore:
    """The segments of one task, for one attempt or helper.

    `mark` begins the names of all files of the task, `maker` tells who writes a file that is not finished.
    """

    def __init__(self, open_folder: Callable[[], OutputDir], mark: str, maker: str, ledger: Ledger) -> None:
        self._open_folder = open_folder
        self._mark = mark
        self._maker = maker
        self.ledger = ledger
        self.used = False  # whether anything may have to be removed; read when the run has ended

    def create(self, number: int) -> OutputFile:
        """Create the file of a segment, under a name of this maker's own; what others left unfinished of it goes."""
        self.used = True
        stem = f"{self._mark}{SEGMENTS}{number:05}."
        with self._open_folder() as folder:
            try:
                folder.sweep(stem)
                return folder.create(f"{stem}{self._maker}", "")
            except OSError as error:
                raise write_problem(error, self._name(number)) from error

    def keep(self, file: OutputFile, record: SegmentRecord) -> None:
        """Sync the file, give it the name under which every attempt looks for it, then store its record.

        Whoever has lost the segment must not write over what its successor has kept.
        """
        self.ledger.confirm(record.number)
        file.keep_hidden(self._name(record.number))
        self.ledger.keep(record)

    @contextmanager
    def open(self, record: SegmentRecord) -> Iterator[InputFile]:
        """Open a kept segment; raise DamagedSegment where it is lost or is not what was kept."""
        hashes = {record.bare_bytes: record.bare_sha256, record.bytes: record.sha256}  # of both forms, by their lengths
        with self._opened(record) as file:
            if file.size not in hashes:
                raise DamagedSegment(record.number, f"{file.size} bytes in place of {record.bytes}")
            with open(file.url, "rb") as content:  # noqa: PTH123  # the descriptor that was checked
                if hashlib.file_digest(content, "sha256").hexdigest() != hashes[file.size]:
                    raise DamagedSegment(record.number, "its content has changed")
            yield file

    def check(self, record: SegmentRecord) -> None:
        """Raise DamagedSegment as `open` does."""
        with self.open(record):
            pass

    def has_state(self, record: SegmentRecord) -> bool:
        """Whether a segment's file still holds what the pipeline remembered; False also for one that is lost."""
        try:
            with self._opened(record) as file:
                return file.size == record.bytes
        except DamagedSegment:
            return False

    def drop_state(self, record: SegmentRecord) -> bool:
        """Cut off what the pipeline remembered behind a segment; False where that failed, which does no harm."""
        try:
            with self._open_folder() as folder:
                folder.shorten_hidden(self._name(record.number), record.bytes, record.bare_bytes)
        except (OSError, Problem):
            return False
        return True

    def check_room(self, need_bytes: int) -> None:
        """Raise JobFailed unless so much is free where the segments lie."""
        with self._open_folder() as folder:
            if (free := folder.free_bytes) < need_bytes:
                raise JobFailed("disk_full", folder=folder.path.name, free=free >> 20, need=-(-need_bytes >> 20))

    def remove(self) -> None:
        """Remove all files of segments."""
        with self._open_folder() as folder:
            folder.sweep(f"{self._mark}{SEGMENTS}")

    @contextmanager
    def _opened(self, record: SegmentRecord) -> Iterator[InputFile]:
        """Open a segment's file, whatever is in it; raise DamagedSegment where there is none."""
        try:
            with self._open_folder() as folder:
                file = folder.open_hidden(self._name(record.number))
        except (OSError, UnreadableMedia) as problem:
            raise DamagedSegment(record.number, f"lost ({problem})") from problem
        with file:
            yield file

    def _name(self, number: int) -> str:
        return f".{self._mark}{SEGMENTS}{number:05}"


class MemoryLedger:
    """A ledger of one process: for runs without a runner."""

    assigned: int | None = None

    def __init__(self) -> None:
        self._records: dict[int, SegmentRecord] = {}
        self._totals: dict[str, int | None] = {}  # by fingerprint

    def records(self) -> list[SegmentRecord]:
        return list(self._records.values())

    def total(self, fingerprint: str, planned: int | None) -> int | None:
        return self._totals.get(fingerprint, planned)

    def begin(self, start: SegmentStart) -> bool:
        self._totals.setdefault(start.fingerprint, start.total)
        self._records.pop(start.number, None)
        return True

    def confirm(self, number: int) -> None:
        """Go on: there is no other."""

    def keep(self, record: SegmentRecord) -> None:
        self._records[record.number] = record

    def pause(self) -> None:
        """Go on: nobody stops a direct run."""
