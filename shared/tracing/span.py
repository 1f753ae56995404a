"""A span, and which one this code belongs to: a context variable, as for log lines, follows coroutines and threads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Literal, Protocol, Self

from shared import logs
from shared.errors import Problem
from shared.tracing.traceparent import TraceParent

Role = Literal["internal", "server", "client", "producer", "consumer"]  # OpenTelemetry's kinds of spans
Fact = str | int | float | bool
Facts = Mapping[str, Fact]  # names are fixed ones of ours or of OpenTelemetry; never a path, a prompt or a secret
NO_FACTS: Facts = {}


class Recording(Protocol):
    """A span that is being recorded, in whatever library records it."""

    @property
    def place(self) -> TraceParent | None:
        """Where the span is in its trace."""

    def begin(self, name: str, role: Role, facts: Facts) -> "Recording":
        """Begin a span inside this one."""

    def note(self, facts: Facts) -> None:
        """Add facts."""

    def fail(self, reason: str) -> None:
        """Mark the span as failed; `reason` is one of few fixed words."""

    def end(self, at: datetime | None) -> None:
        """End the span, now or at a time; once."""


class Span:
    """A piece of a task's work. Without a `recording` it only remembers its `place`, to hand it on."""

    def __init__(self, place: TraceParent | None = None, recording: Recording | None = None) -> None:
        self.place = recording.place if recording else place
        self._recording = recording
        self._failed = self._ended = False

    @property
    def recorded(self) -> bool:
        return self._recording is not None

    @property
    def traceparent(self) -> str | None:
        """What the next process gets, as the header of that name."""
        return str(self.place) if self.place else None

    @property
    def trace_id(self) -> str | None:
        return self.place.trace_id if self.place else None

    def begin(self, name: str, role: Role = "internal", facts: Facts = NO_FACTS) -> "Span":
        """Begin a span inside this one."""
        return Span(self.place, self._recording.begin(name, role, facts) if self._recording else None)

    def note(self, facts: Facts) -> None:
        """Add facts."""
        if self._recording:
            self._recording.note(facts)

    def fail(self, error: BaseException | str) -> None:
        """Mark as failed, by the key of a problem or the class of an error: messages may hold the names of files.

        Only the first failure counts: what follows from it says less.
        """
        if self._recording and not self._failed:
            self._failed = True
            self._recording.fail(error if isinstance(error, str) else reason_of(error))

    def end(self, at: datetime | None = None) -> None:
        """End the span now, or at a time; only the first end counts."""
        if self._recording and not self._ended:
            self._recording.end(at)
        self._ended = True

    def discard(self) -> None:
        """Record nothing: another process has recorded this span."""
        self._ended = True

    @contextmanager
    def active(self) -> Iterator[Self]:
        """Make this the current span of the block and its trace id that of the block's log lines; end it after."""
        token = _current.set(self)
        try:
            with logs.about(trace_id=self.trace_id):
                yield self
        except Exception as error:
            self.fail(error)
            raise
        finally:
            _current.reset(token)
            self.end()


_current: ContextVar[Span | None] = ContextVar("span", default=None)


def current() -> Span:
    """Return the span that this code belongs to, one that records nothing where there is none."""
    return _current.get() or Span()


@contextmanager
def span(name: str, role: Role = "internal", facts: Facts = NO_FACTS) -> Iterator[Span]:
    """Run the block in a span of its own, inside the current one."""
    with current().begin(name, role, facts).active() as begun:
        yield begun


def reason_of(error: BaseException) -> str:
    """Return what may be told of an error."""
    return error.key if isinstance(error, Problem) else type(error).__name__
