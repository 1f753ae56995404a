"""Where a process gets its spans from: those that begin a trace, and those that go on with another process's."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Self
from uuid import UUID

from shared.settings import Settings
from shared.tracing.span import NO_FACTS, Facts, Role, Span
from shared.tracing.traceparent import TraceParent

if TYPE_CHECKING:
    from shared.tracing.recorder import SpanRecorder

logger = logging.getLogger("bentoml.kinora.tracing")


class Tracer:
    """Begins spans. Without a recorder it passes a caller's place in its trace on, and records nothing."""

    def __init__(self, recorder: "SpanRecorder | None" = None) -> None:
        self._recorder = recorder

    @classmethod
    def of(cls, settings: Settings, service: str) -> Self:
        """Return the tracer of a process; one that records nothing without an endpoint, or without its exporter."""
        if settings.traces_endpoint is None:
            return cls()
        from shared.tracing.recorder import SpanRecorder  # noqa: PLC0415  # no cost where no endpoint is set

        try:
            return cls(SpanRecorder.to(settings.traces_endpoint, service=service, version=settings.version))
        except ImportError:  # an orchestrator may set the variable for everything that it runs
            logger.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but no spans are sent: install kinora[tracing]")
            return cls()

    def begin(
        self,
        name: str,
        parent: str | None,
        role: Role = "internal",
        facts: Facts = NO_FACTS,
        *,
        at: datetime | None = None,
        span_id: int | None = None,
    ) -> Span:
        """Begin a span under a traceparent of another process, or a new trace without a usable one.

        `at` is when it began, if not now; `span_id` is chosen by who must know it before, or again.
        """
        place = TraceParent.read(parent)
        if self._recorder is None:
            return Span(place)
        return Span(place, self._recorder.begin(name, place, role, facts, at=at, span_id=span_id))

    @contextmanager
    def span(
        self,
        name: str,
        parent: str | None,
        role: Role = "internal",
        facts: Facts = NO_FACTS,
        *,
        span_id: int | None = None,
    ) -> Iterator[Span]:
        """Run the block in a span under a traceparent of another process."""
        with self.begin(name, parent, role, facts, span_id=span_id).active() as span:
            yield span

    def flush(self) -> None:
        """Send what has ended. Blocks."""
        if self._recorder:
            self._recorder.flush()

    def close(self) -> None:
        """Send what has ended and stop. Blocks, some seconds where nobody answers."""
        if self._recorder:
            self._recorder.close()


def attempt_span_id(run: UUID, attempt: int) -> int:
    """Return the id of an attempt's span, which follows from the attempt: whoever finds its process dead records it."""
    digest = hashlib.sha256(f"{run.hex}-{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1
